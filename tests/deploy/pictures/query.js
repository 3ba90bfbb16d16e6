// From a panel's targets to Grafana's data frames, as its data source for Prometheus makes them.
import { FieldType, createDataFrame } from "@grafana/data";

const LEGEND = /\{\{\s*(\w+)\s*\}\}/g;

/** Replaces a dashboard's variables in a text. */
export function filled(text, variables) {
  return text.replace(/\$(?:\{(\w+)\}|(\w+))/g, (whole, braced, bare) => variables[braced ?? bare] ?? whole);
}

/** The step and `$__rate_interval` of a panel that is so many pixels wide. */
export function steps({ from, to, scrape }, pixels) {
  const step = Math.max(scrape, Math.ceil((to - from) / pixels));
  return { step, rate: `${Math.max(step + scrape, 4 * scrape)}s` };
}

async function asked(stage, path, parameters) {
  const answer = await fetch(`${stage.prometheus}/api/v1/${path}?${new URLSearchParams(parameters)}`);
  const found = await answer.json();
  if (found.status !== "success") throw new Error(found.error);
  return found.data.result;
}

function named(target, metric) {
  if (target.legendFormat !== "__auto") return target.legendFormat.replace(LEGEND, (_, label) => metric[label] ?? "");
  const labels = Object.entries(metric).filter(([label]) => label !== "__name__");
  return labels.length ? `{${labels.map(([label, value]) => `${label}="${value}"`).join(", ")}}` : target.expr;
}

// What is missing between two samples is a gap, not a line.
function line(target, { metric, values }, { from, to }, step) {
  const known = new Map(values.map(([at, value]) => [Math.round(at * 1000), Number(value)]));
  const times = Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, n) => Math.round((from + n * step) * 1000));
  const { __name__, ...labels } = metric;
  return createDataFrame({
    refId: target.refId,
    fields: [
      { name: "Time", type: FieldType.time, values: times, config: { interval: step * 1000 } },
      {
        name: "Value",
        type: FieldType.number,
        values: times.map((at) => known.get(at) ?? null),
        labels,
        config: { displayNameFromDS: named(target, metric) },
      },
    ],
  });
}

function table(target, series, several) {
  const labels = [...new Set(series.flatMap(({ metric }) => Object.keys(metric)))].sort();
  const texts = labels.map((name) => ({ name, type: FieldType.string, values: series.map(({ metric }) => metric[name] ?? "") }));
  return createDataFrame({
    refId: target.refId,
    fields: [
      { name: "Time", type: FieldType.time, values: series.map(({ value }) => value[0] * 1000) },
      ...texts,
      { name: several ? `Value #${target.refId}` : "Value", type: FieldType.number, values: series.map(({ value }) => Number(value[1])) },
    ],
  });
}

/** The frames of every target of a panel. Throws what Prometheus complains about. */
export async function frames(panel, stage, pixels) {
  const { step, rate } = steps(stage, pixels);
  const targets = panel.targets ?? [];
  const answers = targets.map(async (target) => {
    const query = filled(target.expr, { ...stage.variables, __rate_interval: rate });
    if (target.instant) {
      const series = await asked(stage, "query", { query, time: stage.to });
      return series.length ? [table(target, series, targets.length > 1)] : [];
    }
    const series = await asked(stage, "query_range", { query, start: stage.from, end: stage.to, step });
    return series.map((one) => line(target, one, stage, step));
  });
  return (await Promise.all(answers)).flat();
}
