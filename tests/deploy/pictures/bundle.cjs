// node bundle.cjs FOLDER: page.jsx and what it needs, from FOLDER/node_modules, as FOLDER/served/page.js.
const { cp, mkdir, readFile } = require("node:fs/promises");
const path = require("node:path");

const folder = path.resolve(process.argv[2]);
const modules = path.join(folder, "node_modules");
const served = path.join(folder, "served");
const { build } = require(path.join(modules, "esbuild"));

// In a file that ends with .mjs, esbuild takes the default export of a CommonJS module for the whole module, as Node does;
// these files were written for bundlers that do not. Under another ending it does what they expect.
const asScripts = {
  name: "mjs-as-js",
  setup({ onResolve, onLoad, resolve }) {
    const renamed = (file) => ({ path: file.replace(/\.mjs$/, ".js"), namespace: "mjs", pluginData: { file } });
    onResolve({ filter: /.*/ }, async ({ path: wanted, pluginData, ...how }) => {
      if (pluginData === "asked") return undefined;
      const resolveDir = pluginData?.file ? path.dirname(pluginData.file) : how.resolveDir;
      const found = await resolve(wanted, { resolveDir, kind: how.kind, importer: how.importer, pluginData: "asked" });
      return found.errors.length === 0 && found.path.endsWith(".mjs") ? renamed(found.path) : found;
    });
    onLoad({ filter: /.*/, namespace: "mjs" }, async ({ pluginData }) => ({
      contents: await readFile(pluginData.file, "utf8"),
      resolveDir: path.dirname(pluginData.file),
      pluginData,
    }));
  },
};

async function main() {
  await mkdir(served, { recursive: true });
  await cp(path.join(modules, "@grafana/ui/dist/public"), path.join(served, "public"), { recursive: true });
  for (const [weight, name] of Object.entries({ 400: "Regular", 500: "Medium" })) {
    const file = path.join(modules, `@fontsource/inter/files/inter-latin-${weight}-normal.woff2`);
    await cp(file, path.join(served, `public/fonts/inter/Inter-${name}.woff2`));
  }
  await cp(path.join(__dirname, "page.html"), path.join(served, "index.html"));
  await build({
    entryPoints: [path.join(__dirname, "page.jsx")],
    outfile: path.join(served, "page.js"),
    nodePaths: [modules],
    plugins: [asScripts],
    bundle: true,
    minify: true,
    jsx: "automatic",
    define: { BUILT_WITH: JSON.stringify(require(path.join(modules, "@grafana/ui/package.json")).version), "process.env.NODE_ENV": '"production"', global: "window" },
    loader: { ".svg": "dataurl", ".ttf": "dataurl" },
    logLevel: "error",
  });
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
