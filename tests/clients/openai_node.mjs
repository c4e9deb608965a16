// The official client for Node.

import assert from "node:assert/strict";
import { createReadStream } from "node:fs";

import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

import {
  ANNA,
  BASE_URL,
  LONG_SUM,
  NO_JSON,
  PERSON,
  PERSON_AS_JSON,
  SEEING_URL,
  SUM,
  THOUGHT,
  WEATHER,
  WEATHER_FOUND,
  report,
  works,
} from "./cells.mjs";
import {
  ABOUT,
  CITED,
  CITING,
  HEIGHT,
  PDF,
  SEARCHED,
  SEEING,
  TEXT,
  checkFile,
  checkImages,
  checkSounds,
} from "./media_cells.mjs";

// docs:begin
import OpenAI from "openai";

const client = new OpenAI({ baseURL: BASE_URL, apiKey: "none" });
const answer = await client.chat.completions.create({
  model: "parlance-bundled",
  messages: [{ role: "user", content: "What is 7 + 5?" }],
});
console.log(answer.choices[0].message.content);
// docs:end

const Person = z.object({ name: z.string(), age: z.number().int() });
const tool = zodFunction({
  name: "get_weather",
  description: "Get the current weather for a city.",
  parameters: z.object({ city: z.string() }),
  function: () => WEATHER_FOUND,
});

function asked(question, fields) {
  const messages = [{ role: "user", content: question }];
  return { model: "parlance-bundled", messages, ...fields };
}

async function chat() {
  assert.match(answer.choices[0].message.content, /12/);
}

async function stream() {
  const texts = [];
  for await (const chunk of await client.chat.completions.create(asked(SUM, { stream: true }))) {
    texts.push(chunk.choices[0].delta.content ?? "");
  }
  assert.match(texts.join(""), /12/);
  assert(texts.filter(Boolean).length > 2);
}

async function usage() {
  const { prompt_tokens, completion_tokens, total_tokens } = answer.usage;
  assert.equal(total_tokens, prompt_tokens + completion_tokens);
}

async function streamed_usage() {
  const options = { stream: true, stream_options: { include_usage: true } };
  let last;
  for await (const chunk of await client.chat.completions.create(asked(SUM, options))) {
    last = chunk;
  }
  assert.equal(last.usage.total_tokens, answer.usage.total_tokens);
}

async function stop() {
  const made = await client.chat.completions.create(asked(SUM, { stop: "12" }));
  assert.match(made.choices[0].message.content, /=/);
  assert.doesNotMatch(made.choices[0].message.content, /12/);
}

async function errors() {
  const call = client.chat.completions.create(asked(SUM, { temperature: 3 }));
  await assert.rejects(call, (error) => {
    assert(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "temperature");
    return true;
  });
}

async function tools() {
  const made = await client.chat.completions.parse(asked(WEATHER, { tools: [tool] }));
  const [call] = made.choices[0].message.tool_calls;
  assert.equal(call.function.name, "get_weather");
  assert.deepEqual(call.function.parsed_arguments, { city: "Paris" });
}

async function streamed_tools() {
  const streamed = client.chat.completions.stream(asked(WEATHER, { tools: [tool] }));
  const [call] = (await streamed.finalMessage()).tool_calls;
  assert.equal(call.function.name, "get_weather");
  assert.deepEqual(call.function.parsed_arguments, { city: "Paris" });
}

async function tool_loop() {
  const runner = client.chat.completions.runTools(asked(WEATHER, { tools: [tool] }));
  assert.match(await runner.finalContent(), /21/);
}

async function structured_output() {
  const format = { response_format: zodResponseFormat(Person, "person") };
  const made = await client.chat.completions.parse(asked(PERSON, format));
  assert.deepEqual(made.choices[0].message.parsed, ANNA);
}

async function json_mode() {
  const format = { response_format: { type: "json_object" } };
  const made = await client.chat.completions.create(asked(PERSON_AS_JSON, format));
  assert.deepEqual(JSON.parse(made.choices[0].message.content), ANNA);
}

const seeing = client.withOptions({ baseURL: SEEING_URL });

async function told(part) {
  const messages = [{ role: "user", content: [{ type: "text", text: ABOUT }, part] }];
  const asked = { model: SEEING, messages, temperature: 0 };
  const { choices, usage } = await seeing.chat.completions.create(asked);
  return { text: choices[0].message.content, promptTokens: usage.prompt_tokens };
}

async function images() {
  await checkImages(({ url }) => told({ type: "image_url", image_url: { url } }));
  const low = ({ url }) => ({ type: "image_url", image_url: { url, detail: "low" } });
  await checkImages((picture) => told(low(picture)));
}

const files = works("PDF and text, in the request or uploaded", async function files() {
  const sent = ({ name, url }) => told({ type: "file", file: { filename: name, file_data: url } });
  const uploaded = async ({ path }) => {
    const file = createReadStream(path);
    const { id } = await seeing.files.create({ file, purpose: "user_data" });
    return told({ type: "file", file: { file_id: id } });
  };
  for (const file of [PDF, TEXT]) {
    await checkFile(sent, file);
    await checkFile(uploaded, file);
  }
});

async function sound_in() {
  await checkSounds(({ data, format }) =>
    told({ type: "input_audio", input_audio: { data: data.toString("base64"), format } }),
  );
}

async function sound_out() {
  const spoken = { modalities: ["text", "audio"], audio: { voice: "alloy", format: "wav" } };
  const fields = asked(SUM, spoken);
  const { audio } = (await client.chat.completions.create(fields)).choices[0].message;
  assert.match(audio.transcript, /12/);
  assert.equal(Buffer.from(audio.data, "base64").toString("latin1", 0, 4), "RIFF");
  fields.messages.push({ role: "assistant", audio: { id: audio.id } });
  fields.messages.push({ role: "user", content: LONG_SUM });
  const again = (await client.chat.completions.create(fields)).choices[0].message;
  assert.notEqual(again.audio.id, audio.id);
}

async function citations() {
  const messages = [{ role: "user", content: HEIGHT }];
  const fields = { model: SEEING, messages, ...SEARCHED, ...CITING };
  const { annotations } = (await seeing.chat.completions.create(fields)).choices[0].message;
  assert.deepEqual(annotations, [{ type: "url_citation", url_citation: CITED }]);
}

const thoughts = works(
  "as `reasoning_content`, which its types do not name",
  async function thoughts() {
    const made = await client.chat.completions.create(asked(LONG_SUM));
    const { message } = made.choices[0];
    assert.match(message.reasoning_content, THOUGHT);
    assert.doesNotMatch(message.content, THOUGHT);
    assert(made.usage.completion_tokens_details.reasoning_tokens > 2);
    const pieces = [];
    const streamed = await client.chat.completions.create(asked(LONG_SUM, { stream: true }));
    for await (const chunk of streamed) {
      pieces.push(chunk.choices[0].delta.reasoning_content ?? "");
    }
    assert.match(pieces.join(""), THOUGHT);
    assert(pieces.filter(Boolean).length > 2);
  },
);

async function refusals() {
  const format = { response_format: zodResponseFormat(Person, "person") };
  const fields = asked(PERSON, { ...format, ...NO_JSON });
  const { message } = (await client.chat.completions.parse(fields)).choices[0];
  assert(message.refusal);
  assert.equal(message.parsed, null);
  const pieces = [];
  const wholes = [];
  const streamed = client.chat.completions.stream(fields);
  streamed.on("refusal.delta", ({ delta }) => pieces.push(delta));
  streamed.on("refusal.done", ({ refusal }) => wholes.push(refusal));
  await streamed.done();
  assert.deepEqual(wholes, [pieces.join("")]);
  assert(pieces.join(""));
}

await report(
  chat,
  stream,
  usage,
  streamed_usage,
  stop,
  errors,
  tools,
  streamed_tools,
  tool_loop,
  structured_output,
  json_mode,
  images,
  files,
  sound_in,
  sound_out,
  citations,
  thoughts,
  refusals,
);
