-- The series of samples of one network. Redis runs each call as a whole.
--
-- KEYS: registers, facts, hours, days. ARGV: command, its argument as MessagePack.
--
--   registers  height -> 16 hex digits of sequence, then 's' and the samples (name -> decimal text), or 'e': empty
--   facts      top: the largest height of any record; whatever is `kept` epochs below it is final; since: the lowest
--   hours      number of the hour -> samples by height: of each name the one at the lowest height
--   days       the same by day
--
-- Samples are never calculated with here: they are text of any length.

local REGISTERS, FACTS, HOURS, DAYS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local BATCH = 500
local call = redis.call
local pack, unpack_of = cmsgpack.pack, cmsgpack.unpack

local function each(heights, visit)
  for first = 1, #heights, BATCH do
    local last = math.min(first + BATCH - 1, #heights)
    local values = call('HMGET', REGISTERS, unpack(heights, first, last))
    for i = first, last do
      if values[i - first + 1] and visit(heights[i], values[i - first + 1]) then return end
    end
  end
end

local function downwards(high, low)
  local heights = {}
  for height = high, low, -1 do heights[#heights + 1] = height end
  return heights
end

local function samples_of(value)
  return value:sub(17, 17) == 's' and unpack_of(value:sub(18)) or nil
end

-- Points ---------------------------------------------------------------------------------------------------------------------

local function without(entry, name)
  entry[2][name] = nil
  return next(entry[2]) == nil
end

-- Puts samples into a bucket: each name stays only at its lowest height. Of two records of one height the younger one's count.
local function put(bucket, height, sequence, samples)
  local own = bucket[height]
  if own and own[1] >= sequence then return end
  for name, value in pairs(samples) do
    local lowest = true
    for at, entry in pairs(bucket) do
      if entry[2][name] and at ~= height then
        if at < height then
          lowest = false
        elseif without(entry, name) then
          bucket[at] = nil
        end
      end
    end
    if lowest then
      own = own or { sequence, {} }
      own[1], own[2][name] = sequence, value
      bucket[height] = own
    end
  end
end

local function forget(key, oldest)
  local gone = {}
  for _, field in ipairs(call('HKEYS', key)) do
    if tonumber(field) < oldest then gone[#gone + 1] = field end
  end
  for first = 1, #gone, BATCH do
    call('HDEL', key, unpack(gone, first, math.min(first + BATCH - 1, #gone)))
  end
end

local function keep(key, epochs, kept, top, finals)
  local buckets, oldest, made = {}, math.floor((top - kept) / epochs), false
  for _, final in ipairs(finals) do
    local number = math.floor(final[1] / epochs)
    if number >= oldest then
      if not buckets[number] then
        local packed = call('HGET', key, number)
        made = made or not packed
        buckets[number] = packed and unpack_of(packed) or {}
      end
      put(buckets[number], final[1], final[2], final[3])
    end
  end
  for number, bucket in pairs(buckets) do call('HSET', key, number, pack(bucket)) end
  if made then forget(key, oldest) end
end

local function thin(limits, top, finals)
  keep(HOURS, limits.hour, limits.hours, top, finals)
  keep(DAYS, limits.day, limits.days, top, finals)
end

-- Registers ------------------------------------------------------------------------------------------------------------------

-- What is final now: everything up to `floor`, which was at `before`.
local function finish(limits, top, before, floor)
  local heights = {}
  if floor - before <= limits.kept then
    heights = downwards(floor, before + 1)
  else
    for _, field in ipairs(call('HKEYS', REGISTERS)) do
      local height = tonumber(field)
      if height <= floor then heights[#heights + 1] = height end
    end
    table.sort(heights)
  end
  local finals, gone = {}, {}
  each(heights, function(height, value)
    local samples = samples_of(value)
    gone[#gone + 1] = height
    if samples then finals[#finals + 1] = { height, value:sub(1, 16), samples } end
  end)
  for first = 1, #gone, BATCH do
    call('HDEL', REGISTERS, unpack(gone, first, math.min(first + BATCH - 1, #gone)))
  end
  if #finals > 0 then thin(limits, top, finals) end
end

local function younger(height, sequence)
  local held = call('HGET', REGISTERS, height)
  return not held or held:sub(1, 16) < sequence
end

local commands = {}

-- A record: its samples are what `height` holds.
function commands.put(limits, sequence, height, samples)
  local top, since = tonumber(call('HGET', FACTS, 'top')), tonumber(call('HGET', FACTS, 'since'))
  if not since or height < since then call('HSET', FACTS, 'since', height) end
  if top and height <= top - limits.kept then
    thin(limits, top, { { height, sequence, samples } })
    return 'applied'
  end
  local outcome = younger(height, sequence) and 'applied' or 'stale'
  if outcome == 'applied' then call('HSET', REGISTERS, height, sequence .. 's' .. pack(samples)) end
  -- A stale one counts as well: whether its rewind came first must not decide what is final.
  if not top or height > top then
    call('HSET', FACTS, 'top', height)
    if top then finish(limits, height, top - limits.kept, height - limits.kept) end
  end
  return outcome
end

-- A rewind: the heights from `first` to `last` are empty. Nothing is changed in what is final.
function commands.clear(limits, sequence, first, last)
  local top = tonumber(call('HGET', FACTS, 'top'))
  if top then first = math.max(first, top - limits.kept + 1) end
  local outcome = 'stale'
  for height = math.max(first, last - 2 * limits.kept), last do
    if younger(height, sequence) then
      outcome = 'applied'
      call('HSET', REGISTERS, height, sequence .. 'e')
    end
  end
  return outcome
end

-- Reading --------------------------------------------------------------------------------------------------------------------

-- The newest sample of each name in `wanted` (all names if nil) at the given heights.
local function newest(heights, wanted, count)
  local found, flat = {}, {}
  each(heights, function(height, value)
    for name, text in pairs(samples_of(value) or {}) do
      if not found[name] and (not wanted or wanted[name]) then
        found[name], count = true, count - 1
        flat[#flat + 1], flat[#flat + 2], flat[#flat + 3] = name, text, height
      end
    end
    return count == 0
  end)
  return flat, found
end

local function nearest(limits, target, tolerance, wanted, count)
  local flat, found = {}, {}
  local numbers = downwards(math.floor(target / limits.hour), math.floor((target - tolerance) / limits.hour))
  for i, packed in ipairs(call('HMGET', HOURS, unpack(numbers))) do
    for at, entry in pairs(packed and unpack_of(packed) or {}) do
      for name, text in pairs(entry[2]) do
        if wanted[name] and not found[name] and at <= target and at >= target - tolerance then
          found[name], count = true, count - 1
          flat[#flat + 1], flat[#flat + 2], flat[#flat + 3] = name, text, at
        end
      end
    end
    if count <= 0 then break end
  end
  return flat
end

-- The same where registers are; after a deep rewind the head lies so low that what is looked for is final already.
local function lately(limits, top, target, tolerance, wanted, count)
  local flat, found = newest(downwards(target, target - tolerance), wanted, count)
  if #flat / 3 == count or target - tolerance > top - limits.kept then return flat end
  local missing = {}
  for name in pairs(wanted) do missing[name] = not found[name] or nil end
  for _, value in ipairs(nearest(limits, target, tolerance, missing, count - #flat / 3)) do flat[#flat + 1] = value end
  return flat
end

local function find_head(limits, top)
  local head
  each(downwards(top, top - limits.kept + 1), function(height, value)
    if value:sub(17, 17) == 's' then head = height end
    return head
  end)
  return head
end

-- {head, newest samples, {samples so far back}, lowest height ever sampled}: each sample as name, text, height; `backs` are pairs of distance and tolerance.
function commands.read(limits, backs)
  local top = tonumber(call('HGET', FACTS, 'top'))
  local head = top and find_head(limits, top)
  if not head then return { -1, {}, {}, -1 } end
  local latest, names = newest(downwards(head, head - limits.fresh + 1), nil, -1)
  local past, count = {}, #latest / 3
  for i, back in ipairs(backs) do
    local target = head - back[1]
    if back[1] + back[2] < limits.kept then
      past[i] = lately(limits, top, target, back[2], names, count)
    else
      past[i] = nearest(limits, target, back[2], names, count)
    end
  end
  return { head, latest, past, tonumber(call('HGET', FACTS, 'since')) or -1 }
end

-- All that is kept of one name: heights and texts of what is not final yet, of the hours, of the days; in no order.
function commands.points(limits, name)
  local recent, sparse = {}, {}
  local all = call('HGETALL', REGISTERS)
  for i = 1, #all, 2 do
    local samples = samples_of(all[i + 1])
    if samples and samples[name] then
      recent[#recent + 1], recent[#recent + 2] = tonumber(all[i]), samples[name]
    end
  end
  for place, key in ipairs({ HOURS, DAYS }) do
    sparse[place] = {}
    for _, packed in ipairs(call('HVALS', key)) do
      for at, entry in pairs(unpack_of(packed)) do
        local text, flat = entry[2][name], sparse[place]
        if text then flat[#flat + 1], flat[#flat + 2] = at, text end
      end
    end
  end
  return { recent, sparse[1], sparse[2] }
end

local limits, argument = unpack(unpack_of(ARGV[2]))
return commands[ARGV[1]](limits, unpack(argument))
