// What the programs for Node have in common; cells.py says what they tell.

export const [BASE_URL, SEEING_URL, ...TRIED] = process.argv.slice(2);

// The bundled model's likeliest answers to these are good ones.
export const SUM = "What is 7 + 5?";
export const WEATHER = "What is the weather in Paris?";
export const WEATHER_FOUND = { temperature: 21, condition: "sunny" };
export const PERSON = "Anna is 30 years old.";
export const PERSON_AS_JSON =
  `${PERSON}\nAnswer as JSON with this schema: {"name":"string","age":"integer"}`;
export const LONG_SUM = "What is 17 plus 25?";
export const THOUGHT = /carry/;
export const NO_JSON = { bad_words: ["{"] };
export const ANNA = { name: "Anna", age: 30 };

/** The feature, with something to say about it. */
export function works(note, feature) {
  return Object.assign(feature, { expected: { note } });
}

/** Try those features that were asked for, each a function of its name, and tell of each. */
export async function report(...features) {
  for (const feature of features.filter(({ name }) => TRIED.includes(name))) {
    let fault = null;
    try {
      await feature();
    } catch (error) {
      console.error(error);
      fault = String(error);
    }
    const expected = feature.expected ?? {};
    console.log(JSON.stringify({ feature: feature.name, fault, expected }));
  }
}
