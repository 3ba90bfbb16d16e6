// node shrink.cjs FOLDER FILE: the same PNG with a palette of 128 colours, in its place.
const { readFileSync, writeFileSync } = require("node:fs");
const path = require("node:path");

const [folder, file] = process.argv.slice(2).map((one) => path.resolve(one));
const UPNG = require(path.join(folder, "node_modules/upng-js"));

const image = UPNG.decode(readFileSync(file));
writeFileSync(file, Buffer.from(UPNG.encode(UPNG.toRGBA8(image), image.width, image.height, 128)));
