// /?board=NAME&prometheus=URL&from=SECONDS&to=SECONDS&scrape=SECONDS[&job=…&network=…&window=…]
//
// Draws a dashboard from its JSON with Grafana's own components (@grafana/ui) and the answers of a real Prometheus. When all is
// drawn, window.drawn says of each panel what it shows: {id, title, type, series, samples, error}; samples are
// rows where it is a table.
import { createTheme, dateTime, getFieldDisplayName, getFieldDisplayValues } from "@grafana/data";
import { BigValue, GlobalStyles, Icon, PanelChrome, Table, ThemeContext, TimeSeries, VizRepeater } from "@grafana/ui";
import { createRoot } from "react-dom/client";

import { Heatmap, StateTimeline } from "./cells.jsx";
import { prepared } from "./fields.js";
import { filled, frames } from "./query.js";

const [WIDTH, COLUMNS, CELL, GAP, HEAD] = [1400, 24, 30, 8, 84];
const SETTLING_MILLISECONDS = 400;
const theme = createTheme({ colors: { mode: "dark" } });

function Nothing({ text, width, height }) {
  return <div style={{ width, height, display: "grid", placeItems: "center", color: theme.colors.text.secondary }}>{text}</div>;
}

function Figures({ panel, fieldConfig, data, replace, width, height }) {
  const { options } = panel;
  const getValues = () =>
    getFieldDisplayValues({
      fieldConfig,
      reduceOptions: options.reduceOptions,
      replaceVariables: replace,
      theme,
      data,
      sparkline: options.graphMode !== "none",
      timeZone: "utc",
    });
  const renderValue = ({ value, width: wide, height: tall, count }) => (
    <BigValue
      value={value.display}
      count={count}
      sparkline={value.sparkline}
      colorMode={options.colorMode}
      graphMode={options.graphMode}
      justifyMode={options.justifyMode}
      text={options.text}
      textMode={options.textMode}
      width={wide}
      height={tall}
      theme={theme}
    />
  );
  return <VizRepeater getValues={getValues} renderValue={renderValue} source={data} width={width} height={height} orientation="auto" renderCounter={0} itemSpacing={3} />;
}

function Lines({ panel, data, stage, width, height }) {
  const [from, to] = [dateTime(stage.from * 1000), dateTime(stage.to * 1000)];
  const timeRange = { from, to, raw: { from, to } };
  return <TimeSeries frames={data} structureRev={1} timeRange={timeRange} timeZone="utc" width={width} height={height} legend={panel.options.legend} options={panel.options} />;
}

function Visual({ shown, stage, replace, width, height }) {
  const { panel, data } = shown;
  const size = { width, height };
  if (shown.error) return <Nothing text={shown.error} {...size} />;
  if (panel.type === "stat") return <Figures {...shown} replace={replace} {...size} />;
  if (!data.length) return <Nothing text={panel.fieldConfig.defaults.noValue ?? "No data"} {...size} />;
  if (panel.type === "timeseries") return <Lines panel={panel} data={data} stage={stage} {...size} />;
  if (panel.type === "table") return <Table data={data[0]} {...size} />;
  if (panel.type === "heatmap") return <Heatmap frames={data} stage={stage} {...size} />;
  if (panel.type === "state-timeline") {
    const names = data.map((frame) => getFieldDisplayName(frame.fields[1], frame, data));
    return <StateTimeline frames={data} names={names} stage={stage} {...size} />;
  }
  return <Nothing text={`no component for ${panel.type}`} {...size} />;
}

function placed({ x, y, w, h }) {
  const column = (WIDTH - GAP) / COLUMNS;
  return { left: GAP + x * column, top: HEAD + y * (CELL + GAP), width: w * column - GAP, height: h * (CELL + GAP) - GAP };
}

function Panel({ shown, stage, replace }) {
  const { panel } = shown;
  const { width, height, ...corner } = placed(panel.gridPos);
  const title = replace(panel.title);
  return (
    <div style={{ position: "absolute", width, height, ...corner }}>
      {panel.type === "row" ? (
        <div style={{ fontSize: 16, fontWeight: 500, paddingTop: 2 }}>
          <Icon name="angle-down" /> {title}
        </div>
      ) : (
        <PanelChrome title={title} description={panel.description} width={width} height={height} padding={panel.type === "table" ? "none" : "md"}>
          {(wide, tall) => <Visual shown={shown} stage={stage} replace={replace} width={wide} height={tall} />}
        </PanelChrome>
      )}
    </div>
  );
}

function Choice({ label, value }) {
  const border = `1px solid ${theme.colors.border.medium}`;
  return (
    <span style={{ display: "inline-flex", marginRight: 12, fontSize: 12 }}>
      <span style={{ padding: "6px 8px", border, borderRight: 0, background: theme.colors.background.secondary }}>{label}</span>
      <span style={{ padding: "6px 10px", border }}>{value}</span>
    </span>
  );
}

function Head({ board, stage }) {
  const time = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ");
  const shown = { datasource: "Prometheus", ...stage.variables };
  return (
    <div style={{ position: "absolute", left: GAP, right: GAP, top: 10 }}>
      <div style={{ display: "flex", justifyContent: "space-between", marginBottom: 10 }}>
        <span style={{ fontSize: 16, fontWeight: 500 }}>{board.title}</span>
        <span style={{ color: theme.colors.text.secondary, fontSize: 12 }}>
          {time(stage.from)} to {time(stage.to)} UTC · drawn with @grafana/ui {BUILT_WITH}, not by a Grafana server
        </span>
      </div>
      {board.templating.list.map(({ name, label }) => (
        <Choice key={name} label={label} value={shown[name] === ".+" ? "All" : shown[name]} />
      ))}
    </div>
  );
}

function Board({ board, panels, stage, replace }) {
  const rows = Math.max(...board.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div style={{ position: "relative", width: WIDTH, height: HEAD + rows * (CELL + GAP) + GAP }}>
        <Head board={board} stage={stage} />
        {panels.map((shown) => (
          <Panel key={shown.panel.id} shown={shown} stage={stage} replace={replace} />
        ))}
      </div>
    </ThemeContext.Provider>
  );
}

async function answered(panel, stage, replace) {
  try {
    const found = await frames(panel, stage, placed(panel.gridPos).width);
    return { panel, ...(await prepared(panel, found, theme, replace)) };
  } catch (error) {
    return { panel, data: [], error: String(error) };
  }
}

function told({ panel, data, error }, replace) {
  const samples = data.flatMap(({ fields }) => fields.filter(({ type }) => type === "number").flatMap(({ values }) => values.filter(Number.isFinite)));
  const rows = panel.type === "table" ? (data[0]?.length ?? 0) : samples.length;
  return { id: panel.id, title: replace(panel.title), type: panel.type, series: data.length, samples: rows, error: error ?? null };
}

async function main() {
  const { board: name, prometheus, from, to, scrape, ...variables } = Object.fromEntries(new URLSearchParams(location.search));
  const stage = { prometheus, from: Number(from), to: Number(to), scrape: Number(scrape), variables };
  const board = await (await fetch(`boards/${name}.json`)).json();
  const replace = (text) => filled(text, variables);
  const panels = await Promise.all(board.panels.map((panel) => answered(panel, stage, replace)));
  createRoot(document.getElementById("root")).render(<Board board={board} panels={panels} stage={stage} replace={replace} />);
  await document.fonts.ready;
  setTimeout(() => (window.drawn = panels.map((shown) => told(shown, replace))), SETTLING_MILLISECONDS);
}

main();
