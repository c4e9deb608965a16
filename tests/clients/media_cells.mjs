// What the programs for Node have in common where they send pictures, files and sound, and search;
// media_cells.py and sound_cells.py say what they ask.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { SEEING_URL } from "./cells.mjs";

export const SEEING = "seeing";
export const ABOUT = "What is this?";
const PICTURES = ["stripes.png", "dots.png"].map((name) => media(name, "image/png"));
const PICTURE_TOKENS = 6 * 4 + 2;
export const PDF = media("anna.pdf", "application/pdf");
export const TEXT = media("ben.txt", "text/plain");
const SOUNDS = [
  media("../../fixtures/speech/clips/en-1.wav", "audio/wav"),
  media("window.mp3", "audio/mpeg"),
];

export const HEIGHT = "How high is the Brocken?";
export const SEARCHED = { web_search_options: { search_context_size: "low" } };
export const CITING = { guided_regex: "1,141 m \\[1\\]" };
export const CITED = {
  start_index: 8,
  end_index: 11,
  title: "Brocken",
  url: "https://harz.example/brocken.md",
};

function media(name, kind) {
  const path = new URL(`media/${name}`, import.meta.url);
  const data = readFileSync(path);
  const format = name.slice(-3);
  return { name, path, kind, data, format, url: `data:${kind};base64,${data.toString("base64")}` };
}

/** Pictures are seen as plain HTTP sends them, and each is answered otherwise. */
export async function checkImages(ask) {
  const without = await plain();
  const texts = new Set();
  for (const picture of PICTURES) {
    const told = await ask(picture);
    const image_url = { url: picture.url };
    assert.deepEqual(told, await plain({ type: "image_url", image_url }));
    assert.equal(told.promptTokens, without.promptTokens + PICTURE_TOKENS);
    texts.add(told.text);
  }
  assert.equal(texts.size, PICTURES.length);
}

/** A file is read as plain HTTP sends it by this name, and answered otherwise than none. */
export async function checkFile(ask, file, filename = file.name) {
  const told = await ask(file);
  const without = await plain();
  assert.deepEqual(told, await plain({ type: "file", file: { filename, file_data: file.url } }));
  assert.notEqual(told.text, without.text);
  assert(told.promptTokens > without.promptTokens + 20);
}

/** Sounds are heard as plain HTTP sends them, and each is answered otherwise. */
export async function checkSounds(ask) {
  const texts = new Set();
  for (const sound of SOUNDS) {
    const told = await ask(sound);
    const input_audio = { data: sound.data.toString("base64"), format: sound.format };
    assert.deepEqual(told, await plain({ type: "input_audio", input_audio }));
    assert(told.promptTokens > (await plain()).promptTokens);
    texts.add(told.text);
  }
  assert.equal(texts.size, SOUNDS.length);
}

async function plain(...parts) {
  const messages = [{ role: "user", content: [{ type: "text", text: ABOUT }, ...parts] }];
  const body = JSON.stringify({ model: SEEING, messages, temperature: 0 });
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`${SEEING_URL}/chat/completions`, { method: "POST", headers, body });
  const { choices, usage, error } = await answer.json();
  assert.equal(error, undefined);
  return { text: choices[0].message.content, promptTokens: usage.prompt_tokens };
}
