// Vercel's AI SDK, with its provider for compatible servers.

import assert from "node:assert/strict";

import { createOpenAI } from "@ai-sdk/openai";
import {
  APICallError,
  NoObjectGeneratedError,
  Output,
  generateObject,
  stepCountIs,
  streamObject,
  streamText,
  tool,
} from "ai";
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
  checkFile,
  checkImages,
  checkSounds,
} from "./media_cells.mjs";

// docs:begin
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText } from "ai";

const parlance = createOpenAICompatible({ name: "parlance", baseURL: BASE_URL });
const model = parlance("parlance-bundled");
const answer = await generateText({ model, prompt: "What is 7 + 5?" });
console.log(answer.text);
// docs:end

const Person = z.object({ name: z.string(), age: z.number().int() });
const get_weather = tool({
  description: "Get the current weather for a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: async () => WEATHER_FOUND,
});
const telling = createOpenAICompatible({
  name: "parlance",
  baseURL: BASE_URL,
  includeUsage: true,
  supportsStructuredOutputs: true,
})("parlance-bundled");

async function chat() {
  assert.match(answer.text, /12/);
}

async function stream() {
  const texts = [];
  for await (const text of streamText({ model, prompt: SUM }).textStream) {
    texts.push(text);
  }
  assert.match(texts.join(""), /12/);
  assert(texts.length > 2);
}

async function usage() {
  const { inputTokens, outputTokens, totalTokens } = answer.usage;
  assert.equal(totalTokens, inputTokens + outputTokens);
}

const streamed_usage = works("with `includeUsage: true`", async function streamed_usage() {
  const streamed = streamText({ model: telling, prompt: SUM });
  await streamed.consumeStream();
  assert.equal((await streamed.usage).totalTokens, answer.usage.totalTokens);
});

async function stop() {
  const { text } = await generateText({ model, prompt: SUM, stopSequences: ["12"] });
  assert.match(text, /=/);
  assert.doesNotMatch(text, /12/);
}

async function errors() {
  await assert.rejects(generateText({ model, prompt: SUM, temperature: 3 }), (error) => {
    assert(APICallError.isInstance(error));
    assert.match(error.message, /temperature/);
    return true;
  });
}

async function tools() {
  const { toolCalls } = await generateText({ model, prompt: WEATHER, tools: { get_weather } });
  const [call] = toolCalls;
  assert.equal(call.toolName, "get_weather");
  assert.deepEqual(call.input, { city: "Paris" });
}

async function streamed_tools() {
  const streamed = streamText({ model, prompt: WEATHER, tools: { get_weather } });
  await streamed.consumeStream();
  const [call] = await streamed.toolCalls;
  assert.equal(call.toolName, "get_weather");
  assert.deepEqual(call.input, { city: "Paris" });
}

async function tool_loop() {
  const several = { tools: { get_weather }, stopWhen: stepCountIs(3) };
  const { text } = await generateText({ model, prompt: WEATHER, ...several });
  assert.match(text, /21/);
}

const structured_output = works(
  "with `supportsStructuredOutputs: true`",
  async function structured_output() {
    const { object } = await generateObject({ model: telling, schema: Person, prompt: PERSON });
    assert.deepEqual(object, ANNA);
    const asked = { output: Output.object({ schema: Person }), prompt: PERSON };
    const { output } = await generateText({ model: telling, ...asked });
    assert.deepEqual(output, ANNA);
  },
);

const json_mode = works(
  "without `supportsStructuredOutputs`, its default, which tells the schema in words",
  async function json_mode() {
    const { object } = await generateObject({ model, schema: Person, prompt: PERSON_AS_JSON });
    assert.deepEqual(object, ANNA);
  },
);

const seeing = createOpenAICompatible({ name: "parlance", baseURL: SEEING_URL })(SEEING);

async function told(part) {
  const messages = [{ role: "user", content: [{ type: "text", text: ABOUT }, part] }];
  const { text, usage } = await generateText({ model: seeing, messages, temperature: 0 });
  return { text, promptTokens: usage.inputTokens };
}

const images = works("as an `image` or a `file`", async function images() {
  await checkImages(({ data }) => told({ type: "image", image: data }));
  await checkImages(({ data, kind }) => told({ type: "image", image: data, mediaType: kind }));
  await checkImages(({ data, kind }) => told({ type: "file", data, mediaType: kind }));
});

const files = works("PDF; of a text it sends the words", async function files() {
  const part = ({ data, kind }) => ({ type: "file", data, mediaType: kind });
  await checkFile((file) => told({ ...part(file), filename: file.name }), PDF);
  // It names a file that has no name.
  await checkFile((file) => told(part(file)), PDF, "document.pdf");
});

const sound_in = works("as a `file`", async function sound_in() {
  await checkSounds(({ data, kind }) => told({ type: "file", data, mediaType: kind }));
});

const citations = works(
  "as `sources` of `@ai-sdk/openai`, with a `fetch` that adds `web_search_options`",
  async function citations() {
    const searching = createOpenAI({
      baseURL: SEEING_URL,
      apiKey: "none",
      fetch: (url, asked) => {
        const body = JSON.stringify({ ...JSON.parse(asked.body), ...SEARCHED, ...CITING });
        return fetch(url, { ...asked, body });
      },
    });
    const model = searching.chat(SEEING);
    const streamed = streamText({ model, prompt: HEIGHT });
    await streamed.consumeStream();
    for (const sources of [
      (await generateText({ model, prompt: HEIGHT })).sources,
      await streamed.sources,
    ]) {
      const told = sources.map(({ url, title }) => ({ url, title }));
      assert.deepEqual(told, [{ url: CITED.url, title: CITED.title }]);
    }
  },
);

const thoughts = works("as `reasoningText`", async function thoughts() {
  const { text, reasoningText, usage } = await generateText({ model, prompt: LONG_SUM });
  assert.match(reasoningText, THOUGHT);
  assert.doesNotMatch(text, THOUGHT);
  assert(usage.outputTokenDetails.reasoningTokens > 2);
  const pieces = [];
  for await (const part of streamText({ model, prompt: LONG_SUM }).fullStream) {
    if (part.type === "reasoning-delta") {
      pieces.push(part.text);
    }
  }
  assert.match(pieces.join(""), THOUGHT);
  assert(pieces.length > 2);
});

const refusals = works(
  "as the text of its `NoObjectGeneratedError`, with `supportsStructuredOutputs: true`",
  async function refusals() {
    const asked = { schema: Person, prompt: PERSON, providerOptions: { parlance: NO_JSON } };
    const told = (error) => {
      assert(NoObjectGeneratedError.isInstance(error));
      assert.equal(error.finishReason, "content-filter");
      assert(error.text);
      return true;
    };
    await assert.rejects(generateObject({ model: telling, ...asked }), told);
    const streamed = streamObject({ model: telling, ...asked, onError: () => {} });
    const rejected = assert.rejects(streamed.object, told);
    for await (const _ of streamed.textStream);
    await rejected;
  },
);

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
  citations,
  thoughts,
  refusals,
);
