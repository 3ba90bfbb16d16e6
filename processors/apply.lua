-- The server's side of processors/store.py: everything that must happen at once, for one stream of one network.
-- KEYS are listed in store.py (`_Keys.of`); ARGV[1] is a command of the table at the end, ARGV[2] its argument in MessagePack.
--
-- Words: a register is what a height holds: 16 hex digits of sequence, a state ('t'ipset, 'n'ull, 'e'mpty), the lasting part of
-- the contribution. The short part and the facts of a tipset are kept beside it, as long as a window may need them. A range
-- (low, high] is what a window has accounted for so far; totals always equal the registers in it. Registers outside every range
-- cost nothing. Limits of Lua: numbers are doubles, so sequences stay text and every number here stays below 2^53 (see LIMB in
-- packing.py); a call takes some 8,000 arguments at most, so lists go in batches, which is faster too.

local CONFIG, STATE, HEAD, REGISTERS, PARTS, IDS, USES, FIELDS, KINDS, RANGES = unpack(KEYS)
local SCHEMA = 1
local BATCH = 500
local RANKED = 6 -- where a short part has the members that are ranked, with their values
local TOP = 10 -- ranked members that `read` tells
local DAY = 2880
local STEPS = 250 -- heights that one call accounts for, beside its own
local FIRST = 'deployer' -- the kind of which each window knows the members that are in it for the first time

local call, format = redis.call, string.format

local config, state -- of this call; `state` holds numbers by name
local ever -- the range of FIRST over twice the longest window
local first -- the number of FIRST, once there is one
local ranges, unwanted -- lists: what the configured windows account for, and what windows did that are configured no more
local budget = STEPS
local known = {} -- height -> register
local uses = {} -- id -> change of the number of parts that name it
local fresh = {} -- id -> member, for ids made in this call

-- Numbers as text: much faster than letting each call of Redis print them.
local text = setmetatable({}, {
  __index = function(texts, number)
    local printed = type(number) == 'number' and format(number < 2147483648 and number > -2147483648 and '%d' or '%.0f', number) or number
    texts[number] = printed
    return printed
  end,
})

-- Lists of any length -------------------------------------------------------------------------------------------------------

local function batches(list, action)
  for first = 1, #list, BATCH do
    action(first, math.min(first + BATCH - 1, #list))
  end
end

local function hmget(key, fields)
  local values = {}
  if #fields == 0 then return values end
  if #fields <= BATCH then return call('HMGET', key, unpack(fields)) end
  batches(fields, function(first, last)
    local found = call('HMGET', key, unpack(fields, first, last))
    for i = 1, last - first + 1 do
      values[first + i - 1] = found[i]
    end
  end)
  return values
end

local function hset(key, pairs_)
  batches(pairs_, function(first, last)
    call('HSET', key, unpack(pairs_, first, last))
  end)
end

local function hdel(key, fields)
  batches(fields, function(first, last)
    call('HDEL', key, unpack(fields, first, last))
  end)
end

-- Small numbers for long names -----------------------------------------------------------------------------------------------

-- Names of fields and kinds: few, numbered for good.
local function numbered(key, names)
  local numbers = hmget(key, names)
  for i, name in ipairs(names) do
    if not numbers[i] then
      numbers[i] = call('HLEN', key) + 1
      call('HSET', key, name, numbers[i])
    end
    numbers[i] = tonumber(numbers[i])
  end
  return numbers
end

-- Members: many, so an id lives only while a stored part names it. An id is never given twice.
local function identified(members)
  local ids, new = hmget(IDS, members), {}
  for i, member in ipairs(members) do
    if ids[i] then
      ids[i] = tonumber(ids[i])
    else
      state.ids = (state.ids or 0) + 1
      ids[i], fresh[state.ids] = state.ids, member
      new[#new + 1], new[#new + 2] = member, state.ids
    end
  end
  hset(IDS, new)
  return ids
end

local function use(part, change)
  if not part then return end
  for group = 2, #part[2], 2 do
    for _, id in ipairs(part[2][group]) do
      uses[id] = (uses[id] or 0) + change
    end
  end
end

local function save_uses()
  local ids, kept, gone, members = {}, {}, {}, {}
  for id, change in pairs(uses) do
    if change ~= 0 then ids[#ids + 1] = id end
  end
  local rows = hmget(USES, ids)
  for i, id in ipairs(ids) do
    local colon = rows[i] and rows[i]:find(':', 1, true)
    local count = (colon and tonumber(rows[i]:sub(1, colon - 1)) or 0) + uses[id]
    local member = colon and rows[i]:sub(colon + 1) or fresh[id]
    if count > 0 then
      kept[#kept + 1], kept[#kept + 2] = id, format('%d:', count) .. member
    else
      gone[#gone + 1], members[#members + 1] = id, member
    end
  end
  hset(USES, kept)
  hdel(USES, gone)
  hdel(IDS, members)
end

-- Totals of a range ----------------------------------------------------------------------------------------------------------

local function totals_key(range) return RANGES .. range.name .. ':totals' end
local function members_key(range, kind) return RANGES .. range.name .. ':' .. kind end

local function rank_key(range) return RANGES .. range.name .. ':rank' end
local function new_key(range) return RANGES .. range.name .. ':new' end

local function clear(range)
  local keys = { totals_key(range), rank_key(range), new_key(range) }
  for _, other in ipairs(range == ever and ranges or {}) do
    keys[#keys + 1] = new_key(other)
  end
  for _, kind in ipairs(call('HVALS', KINDS)) do
    keys[#keys + 1] = members_key(range, kind)
  end
  batches(keys, function(first, last) call('UNLINK', unpack(keys, first, last)) end)
  range.low, range.high, range.sums, range.members, range.ranked = nil, nil, {}, {}, {}
end

local function bump(counts, name, change)
  counts[name] = (counts[name] or 0) + change
end

local function add_part(range, part, sign)
  local sums, members = range.sums, range.members
  local counters, groups = part[1], part[2]
  for i = 1, #counters, 2 do
    local field = counters[i]
    sums[field] = (sums[field] or 0) + sign * counters[i + 1]
  end
  for i = 1, #groups, 2 do
    local ids = groups[i + 1]
    for _, kind in ipairs(groups[i]) do
      local counts = members[kind]
      if not counts then
        counts = {}
        members[kind] = counts
      end
      for _, id in ipairs(ids) do
        counts[id] = (counts[id] or 0) + sign
      end
    end
  end
end

-- Adds `changes` to the numbers in the hash `key`; a number that comes to 0 leaves it.
local function save_counts(key, changes)
  local names, deltas, n = {}, {}, 0
  for name, change in next, changes do
    if change ~= 0 then
      n = n + 1
      names[n], deltas[n] = text[name], change
    end
  end
  for first = 1, n, BATCH do
    local last = math.min(first + BATCH - 1, n)
    local counts = call('HMGET', key, unpack(names, first, last))
    local kept, k, gone, g = {}, 0, {}, 0
    for i = first, last do
      local count = (counts[i - first + 1] or 0) + deltas[i]
      if count == 0 then
        g = g + 1
        gone[g] = names[i]
      else
        kept[k + 1], kept[k + 2] = names[i], text[count]
        k = k + 2
      end
    end
    if k > 0 then call('HSET', key, unpack(kept)) end
    if g > 0 then call('HDEL', key, unpack(gone)) end
  end
end

local function add_ranked(range, ranked, sign)
  for i = 1, #ranked, 2 do
    bump(range.ranked, ranked[i], sign * ranked[i + 1])
  end
end

local function save_ranked(range)
  for member, change in pairs(range.ranked) do
    if change ~= 0 and tonumber(call('ZINCRBY', rank_key(range), text[change], member)) == 0 then
      call('ZREM', rank_key(range), member)
    end
  end
end

local function first_kind()
  first = first or tonumber(call('HGET', KINDS, FIRST) or nil)
  return first
end

-- The part with nothing but the members of FIRST.
local function firsts_of(part)
  local groups = {}
  for i = 1, #part[2], 2 do
    for _, kind in ipairs(part[2][i]) do
      if kind == first_kind() then
        groups[#groups + 1], groups[#groups + 2] = { kind }, part[2][i + 1]
      end
    end
  end
  return { {}, groups }
end

-- Which members of FIRST a window has for the first time: those that `ever` knows as often as the window does. Looks at those only
-- whose number changed in either.
local function save_new()
  local kind = first_kind()
  for _, range in ipairs(kind and ranges or {}) do
    if range.reads == 'all' then
      local touched, ids, new, old = {}, {}, {}, {}
      for _, changes in ipairs({ ever.members[kind] or {}, range.members[kind] or {} }) do
        for id, change in pairs(changes) do touched[id] = touched[id] or change ~= 0 end
      end
      for id, is in pairs(touched) do
        if is then ids[#ids + 1] = id end
      end
      local in_all, in_range = hmget(members_key(ever, kind), ids), hmget(members_key(range, kind), ids)
      for i, id in ipairs(ids) do
        local list = in_range[i] and in_range[i] == in_all[i] and new or old
        list[#list + 1] = id
      end
      batches(new, function(from, to) call('SADD', new_key(range), unpack(new, from, to)) end)
      batches(old, function(from, to) call('SREM', new_key(range), unpack(old, from, to)) end)
    end
  end
end

local function save_range(range)
  save_counts(totals_key(range), range.sums)
  for kind, changes in pairs(range.members) do
    save_counts(members_key(range, kind), changes)
  end
  save_ranked(range)
end

-- Registers ------------------------------------------------------------------------------------------------------------------

local NOTHING = { sequence = '', state = '' }

local function register(value)
  if not value then return NOTHING end
  return {
    sequence = value:sub(1, 16),
    state = value:sub(17, 17),
    lasting = #value > 17 and cmsgpack.unpack(value:sub(18)) or nil,
  }
end

-- Reads the registers from `first` to `last` at once.
local function fetch(first, last)
  local wanted = {}
  for height = first, last do
    if not known[height] then wanted[#wanted + 1] = height end
  end
  for i, value in ipairs(hmget(REGISTERS, wanted)) do
    known[wanted[i]] = register(value)
  end
end

local function at(height)
  if not known[height] then known[height] = register(call('HGET', REGISTERS, height)) end
  return known[height]
end

-- The short part of a tipset's contribution and its facts: {counters, groups, hash, timestamp, base fee}; false if it was dropped.
local function part_at(height)
  local held = at(height)
  if held.state ~= 't' then return false end
  if held.part == nil then
    local packed = call('HGET', PARTS, height)
    held.part = packed and cmsgpack.unpack(packed)
  end
  return held.part
end

-- Adds (sign 1) or takes away (-1) what `height` holds. A window knows a tipset only by its short part: without it the height
-- is missing there, whatever its lasting part could still tell the window before.
local function account(range, height, sign)
  local held = at(height)
  if held.state == 'n' then
    if range.reads ~= 'ranked' and range ~= ever then bump(range.sums, 'null', sign) end
  elseif held.state == 't' then
    if range == ever then
      if held.lasting then add_part(range, firsts_of(held.lasting), sign) end
      return
    end
    if range.reads == 'ranked' then
      local part = part_at(height)
      if part and part[RANKED] then add_ranked(range, part[RANKED], sign) end
      return
    end
    local part = range.reads == 'all' and part_at(height)
    if range.reads == 'all' and not part then return end
    bump(range.sums, 'processed', sign)
    if part then add_part(range, part, sign) end
    if held.lasting then add_part(range, range.reads == 'states' and { held.lasting[1], {} } or held.lasting, sign) end
  end
end

local function account_where_counted(height, sign)
  for _, range in ipairs(ranges) do
    if range.low and range.low < height and height <= range.high then account(range, height, sign) end
  end
end

local function replace(height, new)
  local old, old_part = at(height), part_at(height)
  account_where_counted(height, -1)
  use(old_part, -1)
  use(old.lasting, -1)
  known[height] = new
  use(new.part, 1)
  use(new.lasting, 1)
  account_where_counted(height, 1)
  if new.part then
    call('HSET', PARTS, height, cmsgpack.pack(new.part))
    state.trimmed = math.min(state.trimmed or height - 1, height - 1)
  elseif old_part then
    call('HDEL', PARTS, height)
  end
  call('HSET', REGISTERS, height, new.sequence .. new.state .. (new.lasting and cmsgpack.pack(new.lasting) or ''))
  state.forgotten = math.min(state.forgotten or height - 1, height - 1)
  state.highest = math.max(state.highest or height, height)
  if new.state ~= 'e' then state.lowest = math.min(state.lowest or height, height) end
end

-- {names, values, groups of kinds and members} as the numbers that are stored.
local function numbered_part(part)
  local counters, groups = numbered(FIELDS, part[1]), {}
  for i = #counters, 1, -1 do
    counters[2 * i - 1], counters[2 * i] = counters[i], part[2][i]
  end
  for i = 1, #part[3], 2 do
    groups[i], groups[i + 1] = numbered(KINDS, part[3][i]), identified(part[3][i + 1])
  end
  return { counters, groups }
end

-- The register of a tipset. The short part of one too far behind to be in any window is left out.
local function tipset(sequence, height, part, lasting)
  local new = { sequence = sequence, state = 't', part = false }
  if #lasting[1] + #lasting[3] > 0 then new.lasting = numbered_part(lasting) end
  if not state.head or height > state.head - config.short then
    new.part = numbered_part(part)
    for i = 4, 7 do new.part[i - 1] = part[i] end
  end
  return new
end

-- Edges ----------------------------------------------------------------------------------------------------------------------

-- Moves one edge; heights that the upper edge passes on its way up enter the range (sign 1), for the lower edge they leave (-1);
-- on the way down the other way round. Heights where nothing is stored are passed for free.
local function walk(range, from, to, sign)
  if from == to then return to end
  local up = to > from
  local first = math.max(math.min(from, to), state.forgotten) + 1
  local last = math.min(math.max(from, to), state.highest)
  local far = last - first + 1 > budget
  if far and up then last = first + budget - 1 elseif far then first = last - budget + 1 end
  fetch(first, last)
  for height = first, last do
    account(range, height, up and sign or -sign)
  end
  budget = budget - math.max(last - first + 1, 0)
  if not far then return to end
  return up and last or first - 1
end

local function settle(range)
  local high = state.head - range.behind
  local low = high - range.span
  if not range.low or low >= range.high or high <= range.low then
    clear(range)
    range.low, range.high = high, high
  end
  range.high = walk(range, range.high, high, 1)
  range.low = walk(range, range.low, low, -1)
  return range.high == high and range.low == low
end

-- Drops what `key` holds above state[pointer] and up to `limit`; `part_of` finds the ids to let go in a dropped value.
local function drop(key, pointer, limit, part_of)
  local last = math.min(limit, state.highest, state[pointer] + budget)
  local heights, gone = {}, {}
  for height = state[pointer] + 1, last do heights[#heights + 1] = height end
  for i, value in ipairs(hmget(key, heights)) do
    if value then
      use(part_of(value), -1)
      gone[#gone + 1] = heights[i]
    end
  end
  hdel(key, gone)
  budget = budget - #heights
  state[pointer] = math.max(state[pointer], last)
  return last >= math.min(limit, state.highest)
end

-- Forgets what no window can ask for again. Only where every range is settled: what one has accounted for, it must find again.
local function forget()
  if state.trimmed and not drop(PARTS, 'trimmed', state.head - config.short, cmsgpack.unpack) then return false end
  return drop(REGISTERS, 'forgotten', state.head - config.long, function(value) return register(value).lasting end)
end

-- The newest height that holds a tipset, after `candidate` was written. A head that this call did not touch is one still.
local function find_head(candidate)
  local head = state.head
  if known[candidate].state == 't' and candidate > (head or -1) then return candidate end
  if not head or not known[head] then return head end
  while head > state.forgotten do
    if not known[head] then fetch(math.max(head - BATCH, state.forgotten + 1), head) end
    if known[head].state == 't' then return head end
    head = head - 1
  end
  return nil
end

local function save_head()
  call('DEL', HEAD)
  if not state.head then return end
  local part = part_at(state.head)
  call('HSET', HEAD, 'height', state.head)
  if not part then return end
  call('HSET', HEAD, 'hash', part[3])
  if part[4] then call('HSET', HEAD, 'timestamp_seconds', part[4], 'base_fee_attofil', part[5]) end
end

-- Brings every range to where the head wants it, as far as the steps of one call reach. Answers whether more is to do.
local function settle_all()
  if not state.head then return false end
  local settled = true
  for _, range in ipairs(ranges) do
    settled = settle(range) and settled
  end
  return not (settled and forget())
end

-- One call -------------------------------------------------------------------------------------------------------------------

local function configured(packed)
  local schema, survive, windows = unpack(cmsgpack.unpack(packed))
  local longest, seen = 0, {}
  ranges = {}
  for _, window in ipairs(windows) do
    local epochs = window[2]
    if not seen[epochs] then
      seen[epochs] = true
      ranges[#ranges + 1] = { name = format('window-%d', epochs), behind = 0, span = epochs, reads = 'all' }
      ranges[#ranges + 1] = { name = format('before-%d', epochs), behind = epochs, span = epochs, reads = 'lasting' }
    end
    longest = math.max(longest, epochs)
  end
  config = { schema = schema, longest = longest, short = longest + survive, long = 2 * longest + survive }
  local ranked = longest
  for _, window in ipairs(windows) do
    if window[2] >= DAY and window[2] < ranked then ranked = window[2] end
  end
  ranges[#ranges + 1] = { name = format('ranked-%d', ranked), behind = 0, span = ranked, reads = 'ranked' }
  ranges[#ranges + 1] = { name = 'ledger', behind = 0, span = config.long, reads = 'states' }
  -- No further back: what a reorg may come back to must be the same whether the head was higher before or not.
  ever = { name = format('ever-%d', 2 * longest), behind = 0, span = 2 * longest, reads = 'firsts' }
  ranges[#ranges + 1] = ever
end

local function pairs_of(flat)
  local values = {}
  for i = 1, #flat, 2 do values[flat[i]] = flat[i + 1] end
  return values
end

local function load()
  local by_name = {}
  for _, range in ipairs(ranges) do
    range.sums, range.members, range.ranked, by_name[range.name] = {}, {}, {}, range
  end
  state, unwanted = {}, {}
  for name, value in pairs(pairs_of(call('HGETALL', STATE))) do
    local edge, of = name:match('^(%a+) (.*)$')
    if not edge then
      state[name] = tonumber(value)
    elseif by_name[of] then
      by_name[of][edge] = tonumber(value)
    elseif edge == 'low' then
      unwanted[#unwanted + 1] = { name = of }
    end
  end
end

local function save()
  for _, range in ipairs(unwanted) do clear(range) end
  for _, range in ipairs(ranges) do
    save_range(range)
    if range.low then
      state['low ' .. range.name], state['high ' .. range.name] = range.low, range.high
    end
  end
  save_new()
  save_uses()
  local flat = {}
  for name, value in pairs(state) do
    flat[#flat + 1], flat[#flat + 2] = name, format('%.0f', value)
  end
  call('DEL', STATE)
  hset(STATE, flat)
end

-- A head so far ahead that nothing stored is worth keeping: as if the store were new, and as fast.
local function start_anew()
  call('UNLINK', REGISTERS, PARTS, IDS, USES)
  for _, range in ipairs(ranges) do clear(range) end
  state, known = { ids = state.ids }, {}
end

local function answer(outcome, pending)
  return { outcome, state.head or -1, pending and 1 or 0, state.forgotten or -1, config.long }
end

local commands = {}

function commands.settle()
  load()
  local pending = settle_all()
  save()
  return answer('applied', pending)
end

-- {sequence, first, last, state, part, lasting}: the heights from `first` to `last` are empty or null; with a part, `last` holds a
-- tipset and the others are null.
function commands.apply(argument)
  local sequence, first, last, kind, part, lasting = unpack(argument, 1, 6)
  load()
  if state.head and last <= state.head - config.long then return answer('too_old', false) end
  if part and state.highest and last - config.long > state.highest then start_anew() end
  local head, outcome = state.head, 'stale'
  fetch(first, last)
  for height = first, last do
    if known[height].sequence < sequence then
      outcome = 'applied'
      local held = part and height == last
      replace(height, held and tipset(sequence, height, part, lasting) or { sequence = sequence, state = kind, part = false })
    end
  end
  if outcome == 'stale' then return answer(outcome, false) end
  state.head = find_head(last)
  if state.head ~= head or head and first <= head and head <= last then save_head() end
  local pending = settle_all()
  save()
  return answer(outcome, pending)
end

local function settled(range)
  local high = state.head - range.behind
  return range.high == high and range.low == high - range.span
end

-- How many members of FIRST a window has for the first time; -1 while what was before is still being looked at.
local function new_in(range)
  return range.reads == 'all' and settled(range) and settled(ever) and call('SCARD', new_key(range)) or -1
end

-- What is accounted for, whatever the length of the history.
function commands.read()
  load()
  local kinds, windows = call('HGETALL', KINDS), {}
  for i, range in ipairs(ranges) do
    local counts = {}
    for j = 1, #kinds, 2 do
      counts[j], counts[j + 1] = kinds[j], call('HLEN', members_key(range, kinds[j + 1]))
    end
    local top = range.reads == 'ranked' and call('ZREVRANGE', rank_key(range), 0, TOP - 1, 'WITHSCORES') or {}
    local new = state.head and new_in(range) or -1
    windows[i] = { range.name, call('HGETALL', totals_key(range)), counts, range.low or 0, top, new }
  end
  return { state.head or -1, state.lowest or -1, call('HGETALL', HEAD), call('HGETALL', FIELDS), windows }
end

-- The newest tipsets whose facts are kept, newest first: height, hash, sequence.
function commands.tail(limit)
  load()
  local found, height = {}, state.head
  while height and height > state.forgotten and #found < limit do
    if not known[height] then fetch(math.max(height - BATCH, state.forgotten + 1), height) end
    local part = part_at(height)
    if part then found[#found + 1] = { height, part[3], known[height].sequence } end
    height = height - 1
  end
  return found
end

-- {first, last}: what each height from `first` to `last` holds, a letter each, upwards. A tipset without its short part is 'l'asting
-- where no window wants that, and as good as empty where one does: a longer window came after it was left out.
function commands.states(argument)
  load()
  local first, last = unpack(argument, 1, 2)
  local heights, letters = {}, {}
  for height = first, last do heights[#heights + 1] = height end
  for i, value in ipairs(hmget(REGISTERS, heights)) do
    local height, letter = heights[i], value and value:sub(17, 17) or 'e'
    local below = (state.head or height) - height
    if letter == 't' and (below >= config.short or call('HEXISTS', PARTS, height) == 0) then
      letter = below < config.longest and 'e' or 'l'
    end
    letters[i] = letter
  end
  return table.concat(letters)
end

-- What the tipset at a height adds: the counters of its short part, with the numbers of the fields; false where none is kept.
function commands.counters(height)
  local part = part_at(height)
  return part and { part[1], call('HGETALL', FIELDS) }
end

-- The hash of the tipset at a height, false where none is kept.
function commands.hash(height)
  local part = part_at(height)
  return part and part[3]
end

local packed = call('GET', CONFIG)
if not packed then
  if ARGV[1] == 'read' or ARGV[1] == 'tail' then return {} end
  return redis.error_reply('UNCONFIGURED no windows are configured')
end
configured(packed)
if config.schema ~= SCHEMA then return redis.error_reply(format('SCHEMA %d', config.schema)) end
return commands[ARGV[1]](cmsgpack.unpack(ARGV[2]))
