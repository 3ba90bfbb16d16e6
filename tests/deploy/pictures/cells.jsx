// State timelines and heat maps: Grafana publishes no component for these two, so these are ours, in its colours.
import { useTheme2 } from "@grafana/ui";

const AXIS = 22;

function Times({ stage, left, width, top, theme }) {
  const marks = 6;
  return Array.from({ length: marks }, (_, n) => {
    const share = (n + 0.5) / marks;
    const text = new Date((stage.from + share * (stage.to - stage.from)) * 1000).toISOString().slice(11, 19);
    return (
      <text key={n} x={left + share * width} y={top + 16} textAnchor="middle" fill={theme.colors.text.secondary} fontSize={12}>
        {text}
      </text>
    );
  });
}

function runs(field) {
  const found = [];
  field.values.forEach((value, n) => {
    const last = found.at(-1);
    if (last && last.value === value) last.end = n + 1;
    else found.push({ value, start: n, end: n + 1 });
  });
  return found.filter(({ value }) => value !== null);
}

/** A bar of states for each series. */
export function StateTimeline({ frames, names, stage, width, height }) {
  const theme = useTheme2();
  const left = Math.min(width / 3, 12 + 7 * Math.max(...names.map((name) => name.length)));
  const room = (height - AXIS) / frames.length;
  const thick = Math.min(0.9 * room, 60);
  return (
    <svg width={width} height={height} fontFamily={theme.typography.fontFamily}>
      {frames.map(({ fields: [, field], length }, row) => {
        const scale = (width - left) / length;
        const middle = (row + 0.5) * room;
        return (
          <g key={row}>
            <text x={left - 8} y={middle + 4} textAnchor="end" fill={theme.colors.text.primary} fontSize={12}>
              {names[row]}
            </text>
            {runs(field).map(({ value, start, end }) => {
              const shown = field.display(value);
              const long = (end - start) * scale;
              return (
                <g key={start}>
                  <rect x={left + start * scale} y={middle - thick / 2} width={long} height={thick} fill={shown.color} fillOpacity={0.7} />
                  {long > 40 && (
                    <text x={left + start * scale + 6} y={middle + 4} fill="#fff" fontSize={12}>
                      {shown.text}
                    </text>
                  )}
                </g>
              );
            })}
          </g>
        );
      })}
      <Times stage={stage} left={left} width={width - left} top={height - AXIS} theme={theme} />
    </svg>
  );
}

const ORANGES = ["#fff5eb", "#fee6ce", "#fdd0a2", "#fdae6b", "#fd8d3c", "#f16913", "#d94801", "#a63603", "#7f2704"];

// Buckets count everything below their bound: what lies between two bounds is the difference.
function between(frames) {
  const bound = (frame) => (frame.fields[1].labels.le === "+Inf" ? Infinity : Number(frame.fields[1].labels.le));
  const sorted = [...frames].sort((one, other) => bound(one) - bound(other));
  return sorted.map((frame, n) => ({
    name: frame.fields[1].labels.le,
    counts: frame.fields[1].values.map((value, at) => (value === null ? 0 : value - (n ? (sorted[n - 1].fields[1].values[at] ?? 0) : 0))),
  }));
}

/** How many fell into each bucket at each time: the darker the scheme's end, the more. */
export function Heatmap({ frames, stage, width, height }) {
  const theme = useTheme2();
  const rows = between(frames).filter(({ name }) => name !== "+Inf");
  const left = 52;
  const [wide, tall] = [(width - left) / rows[0].counts.length, (height - AXIS) / rows.length];
  const most = Math.max(...rows.flatMap(({ counts }) => counts));
  const colour = (count) => ORANGES[Math.round((ORANGES.length - 1) * (1 - Math.sqrt(count / most)))];
  return (
    <svg width={width} height={height} fontFamily={theme.typography.fontFamily}>
      {rows.map(({ name, counts }, row) => {
        const y = height - AXIS - (row + 1) * tall;
        return (
          <g key={name}>
            <text x={left - 8} y={y + tall / 2 + 4} textAnchor="end" fill={theme.colors.text.secondary} fontSize={12}>
              {name} s
            </text>
            {counts.map((count, n) => count > 0 && <rect key={n} x={left + n * wide} y={y} width={wide - 1} height={tall - 1} fill={colour(count)} />)}
          </g>
        );
      })}
      <Times stage={stage} left={left} width={width - left} top={height - AXIS} theme={theme} />
    </svg>
  );
}
