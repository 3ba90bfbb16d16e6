// What Grafana's application adds to its libraries: the registries of field options and of transformations, and panels' defaults.
import { FieldColorModeId, Registry, applyFieldOverrides, standardTransformers, standardTransformersRegistry, transformDataFrame } from "@grafana/data";
import { lastValueFrom } from "rxjs";

const COLOURS = { timeseries: FieldColorModeId.PaletteClassic };
const LINES = {
  axisColorMode: "text",
  axisPlacement: "auto",
  drawStyle: "line",
  fillOpacity: 0,
  gradientMode: "none",
  lineInterpolation: "linear",
  lineWidth: 1,
  pointSize: 5,
  scaleDistribution: { type: "linear" },
  showPoints: "auto",
  spanNulls: false,
  stacking: { mode: "none", group: "A" },
  thresholdsStyle: { mode: "off" },
};
const CELLS = { align: "auto", cellOptions: { type: "auto" }, inspect: false };
const CUSTOM = { timeseries: LINES, table: CELLS };
const THRESHOLDS = { mode: "absolute", steps: [{ value: null, color: "green" }, { value: 80, color: "red" }] };
const OPTIONS = ["unit", "min", "max", "decimals", "displayName", "noValue", "thresholds", "mappings", "color", "links"];

const option = (id, isCustom) => ({ id: isCustom ? `custom.${id}` : id, path: id, name: id, isCustom, process: (value) => value, shouldApply: () => true });
const registry = new Registry(() => [
  ...OPTIONS.map((id) => option(id, false)),
  ...Object.keys({ ...LINES, ...CELLS, hideFrom: {} }).map((id) => option(id, true)),
]);

standardTransformersRegistry.setInit(() =>
  [standardTransformers.joinByFieldTransformer, standardTransformers.organizeFieldsTransformer].map((transformation) => ({
    id: transformation.id,
    name: transformation.name,
    transformation,
  })),
);

function withDefaults(panel) {
  const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
  const { mode, steps } = defaults.thresholds ?? THRESHOLDS;
  return {
    defaults: {
      color: { mode: COLOURS[panel.type] ?? FieldColorModeId.Thresholds },
      ...defaults,
      thresholds: { mode, steps: steps.map((step) => ({ ...step, value: step.value ?? -Infinity })) },
      custom: { ...CUSTOM[panel.type], ...defaults.custom },
    },
    overrides,
  };
}

/** A panel's field configuration, and its frames transformed and with that configuration applied. */
export async function prepared(panel, frames, theme, replaceVariables) {
  const transformed = await lastValueFrom(transformDataFrame(panel.transformations ?? [], frames, { interpolate: replaceVariables }));
  const fieldConfig = withDefaults(panel);
  const data = applyFieldOverrides({ data: transformed, fieldConfig, replaceVariables, theme, timeZone: "utc", fieldConfigRegistry: registry });
  return { fieldConfig, data };
}
