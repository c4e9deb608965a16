"""The contract as data: what the server does with each field of a request.

One row for each field of `request.ChatRequest`, in its order. The field table of `docs/api.md`,
the controls of `docs/sampling.md` and the descriptions in the OpenAPI document are made
from these rows.
"""

from serve.api.wire.contract_row import Row

# What a control does to real answers, in one test for each.
_EFFECTS = "e2e/test_controls.py::test_"

# What each form does to real answers.
_FORMS = "serve/api/test_answer_forms.py::"
_ONE_FORM = "One form at a time. See docs/structured-output.md."


CONTRACT: tuple[Row, ...] = (
    Row(
        "messages",
        "honoured",
        "1 to 2,048 messages",
        "The conversation. Roles `developer`, `system`, `user`, `assistant`, `tool` and "
        "`function`; content is a string or an array of up to 1,024 text parts, which are joined "
        "unless the model's template goes through parts. Among a user's parts may be images "
        "(`image_url`, if the model sees: docs/images.md), recordings (`input_audio`, if the "
        "server hears: docs/audio.md) and files (`file`: docs/documents.md). "
        "`developer` is `system` where the model's template knows only that. `name`, "
        "`tool_calls`, `function_call` and `tool_call_id` reach the template in the form that the "
        "model's format of calls wants; a refusal of the assistant is rendered as its text. "
        "A `tool` message must answer a call before it, which says which tool's result it is. "
        "What other servers put into their answers may be sent back (docs/api.md tells what "
        "becomes of it); what changes nothing is named by the header `x-parlance-no-effect`.",
        "serve/api/test_prompt.py::test_messages_reach_the_template",
    ),
    Row(
        "model",
        "honoured",
        "the served model, an alias, or one of its adapters",
        "Which model answers. Any other name is answered with 404 `model_not_found`.",
        "serve/api/test_models.py::test_unserved_model_is_404",
    ),
    Row(
        "temperature",
        "honoured",
        "0 to 2",
        "Divides the logits. 0 takes the likeliest token, the lowest id of equals.",
        f"{_EFFECTS}temperature",
        default="1",
        step=6,
    ),
    Row(
        "top_p",
        "honoured",
        "0 to 1",
        "Keeps the smallest set of likeliest tokens whose mass reaches `top_p`, the token that "
        "crosses it included. 0 keeps one.",
        f"{_EFFECTS}top_p",
        default="1",
        step=8,
    ),
    Row(
        "frequency_penalty",
        "honoured",
        "-2 to 2",
        "Subtracted from a token's logit for each time that this choice has sampled it.",
        f"{_EFFECTS}frequency_penalty",
        default="0",
        step=4,
    ),
    Row(
        "presence_penalty",
        "honoured",
        "-2 to 2",
        "Subtracted once from the logits of the tokens that this choice has sampled.",
        f"{_EFFECTS}presence_penalty",
        default="0",
        step=4,
    ),
    Row(
        "logit_bias",
        "honoured",
        "token ids with numbers -100 to 100; at most 1,024, and not every token banned",
        "Added to the logits of these tokens. -100 bans a token, 100 all but forces it.",
        f"{_EFFECTS}logit_bias",
        default="{}",
        step=2,
    ),
    Row(
        "logprobs",
        "honoured",
        "true or false",
        "Report the log-probability of each of the answer's tokens, read from the model's own "
        "distribution: the raw logits.",
        "serve/api/test_logprobs.py::test_shape_of_logprobs",
        default="false",
        step=1,
    ),
    Row(
        "top_logprobs",
        "honoured",
        "0 to 20, with `logprobs: true` only",
        "How many of the likeliest tokens to list with each token.",
        "serve/api/test_logprobs.py::test_top_logprobs",
        default="0",
        step=1,
    ),
    Row(
        "max_completion_tokens",
        "honoured",
        "1 or more; -1 for no bound of its own",
        "An upper bound on the tokens of each choice; `finish_reason` is `length` where it was "
        "reached. A larger one than the context leaves is lowered to that.",
        "serve/api/test_sampling_fields.py::test_token_bound",
        default="what the context leaves",
    ),
    Row(
        "max_tokens",
        "honoured",
        "1 or more; -1 for no bound of its own",
        "The older name of `max_completion_tokens`. Both may be sent if they are equal.",
        "serve/api/test_sampling_fields.py::test_token_bound",
    ),
    Row(
        "n",
        "honoured",
        "1 to 128, or what the server's --max-choices allows",
        "How many choices to generate. The prompt is computed once for all of them.",
        "serve/api/test_plain.py::test_each_choice_has_its_own_text",
        default="1",
    ),
    Row(
        "seed",
        "honoured",
        "a 64-bit integer",
        "Keys the draw: the same request with the same seed and `system_fingerprint` draws the "
        "same tokens. Choice i draws with a key of (seed, i).",
        f"{_EFFECTS}seed",
        default="a fresh one for each request",
        step=10,
    ),
    Row(
        "stop",
        "honoured",
        "a string, or up to 4 strings, each of 1 to 1,024 characters",
        "The answer ends before the first of these strings, wherever tokens begin and end.",
        "serve/api/test_plain.py::test_stop_string_ends_the_choice",
    ),
    Row(
        "stream",
        "honoured",
        "true or false",
        "Send the answer as server-sent events while it is generated.",
        "serve/api/test_stream.py::test_shape_of_a_stream",
        default="false",
    ),
    Row(
        "stream_options",
        "honoured",
        "an object; one that asks for something with `stream: true` only",
        "`include_usage` (default false): a last chunk with the usage, `usage: null` on the "
        "others. `include_obfuscation` (default true): a random string on each chunk of a "
        "choice that evens out the sizes of chunks.",
        "serve/api/test_stream.py::test_usage_chunk",
    ),
    Row(
        "user",
        "honoured",
        "up to 1,024 characters",
        "Who asks, for the server's log and metrics, where it appears as a hash.",
        "serve/api/test_access_log.py::test_caller_is_hashed",
    ),
    Row(
        "safety_identifier",
        "honoured",
        "up to 64 characters",
        "The newer name of `user`; wins if both are sent.",
        "serve/api/test_access_log.py::test_caller_is_hashed",
    ),
    Row(
        "metadata",
        "honoured",
        "up to 16 pairs; keys to 64 characters, values strings to 512",
        "Written to the server's log with the request, and kept with a stored completion, which "
        "lists are asked for by and which can be changed (docs/stored-completions.md).",
        "serve/api/test_stored.py::test_metadata_is_stored_found_and_replaced",
    ),
    Row(
        "modalities",
        "honoured",
        '["text"], ["audio"], or both; `audio` with the field `audio` only',
        "With `audio` the answer is spoken: `message.audio` has the file and its transcript, and "
        "`content` is null. A refusal and calls are not spoken. See docs/audio.md.",
        "serve/api/test_spoken.py::test_an_answer_is_spoken",
        default='["text"]',
    ),
    Row(
        "response_format",
        "honoured",
        "type `text`, `json_object`, or `json_schema` with a `name`, `schema`, `description` and "
        "`strict`",
        "What the answer must be: text, any JSON object, or JSON that the schema describes. A "
        "grammar makes anything else impossible, whatever the model would say. With "
        "`strict: true` a schema that cannot be enforced in full is refused; else what cannot "
        "be enforced is left to the model. See docs/structured-output.md.",
        "serve/api/test_response_format.py::test_answers_follow_the_format",
        default='{"type": "text"}',
    ),
    Row(
        "tools",
        "honoured",
        "up to 128 tools with names of their own: `function` with `name`, `description`, "
        "`parameters` and `strict`, or `custom` with `name`, `description` and `format` (`text`, "
        "or `grammar` with `lark` or `regex`)",
        "What the model may call. Shown to the model by its own template, or in words where that "
        "knows no tools. A grammar makes calls impossible that no tool takes: arguments follow "
        "`parameters`, a custom tool's input its grammar. With `strict: true` a schema that "
        "cannot be enforced in full is refused. See docs/tool-formats.md.",
        "serve/api/test_tools.py::test_every_form_of_the_choice_is_kept",
    ),
    Row(
        "tool_choice",
        "honoured",
        "`none`, `auto`, `required`, a named tool of type `function` or `custom`, or "
        "`allowed_tools` with the `mode` `auto` or `required`; other than `none` and `auto` with "
        "`tools` only",
        "Whether tools are called, and which; kept by the grammar, whatever the model would say. "
        "`none`: no call; `required`: at least one; a named tool: one call of it and nothing "
        "else; `allowed_tools`: only these.",
        "serve/api/test_tools.py::test_every_form_of_the_choice_is_kept",
        default="auto with `tools`, else none",
    ),
    Row(
        "parallel_tool_calls",
        "honoured",
        "true or false",
        "Whether an answer may hold more than one call, where the model's format has a way to "
        "write that.",
        "serve/api/test_tools.py::test_every_form_of_the_choice_is_kept",
        default="true",
    ),
    Row(
        "functions",
        "honoured",
        "up to 128 functions with names of their own; not with `tools`",
        "The older form of `tools`: the answer has one call, in `function_call`.",
        "serve/api/test_tools.py::test_functions_are_called_in_the_older_form",
    ),
    Row(
        "function_call",
        "honoured",
        "`none`, `auto`, or an object with the `name` of a function; that with `functions` only",
        "The older form of `tool_choice`.",
        "serve/api/test_tools.py::test_functions_are_called_in_the_older_form",
        default="auto with `functions`, else none",
    ),
    Row(
        "prediction",
        "honoured",
        "type `content` with a text, or with 1 to 1,024 text parts, which are joined; not empty",
        "What the answer is expected to say, like a file that is to be changed a little. Its "
        "tokens are drafts: several are verified in one step, and those are kept that would have "
        "been drawn anyway. So it changes the time, and nothing of the answer. `usage` counts "
        "drafts that are in the answer and those that were refused. With --deterministic nothing "
        "is drafted. See docs/performance.md.",
        "serve/api/test_prediction.py::test_usage_counts_what_was_drafted",
    ),
    Row(
        "prompt_cache_key",
        "honoured",
        "a string of up to 64 characters; empty for none",
        "Groups requests that share a prompt's beginning: what the cache keeps of a group goes by "
        "the group's last use, and after what belongs to no group. See docs/prompt-cache.md.",
        "serve/api/test_prompt_cache.py::test_the_engine_is_told_of_group_and_retention",
    ),
    Row(
        "prompt_cache_retention",
        "honoured",
        "`in_memory` (or `in-memory`) or `24h`; `24h` with `--cache-dir` only",
        "How long what is computed of the request is kept: in memory while there is room, or also "
        "in a directory, over restarts, for 24 hours at most. See docs/prompt-cache.md.",
        "serve/api/test_prompt_cache.py::test_the_engine_is_told_of_group_and_retention",
        default="in_memory",
    ),
    Row(
        "reasoning_effort",
        "honoured",
        "`none`, `minimal`, `low`, `medium`, `high` or `xhigh`, as far as the model's template "
        "has a way to honour it",
        "How much the model thinks before it answers. `none`: not at all. The other levels go to "
        "the template's own variable where it has one, which takes some of them; else they are "
        "budgets of tokens (--reasoning-budgets), at whose end the closing marker is forced. "
        "Thoughts are counted in `reasoning_tokens` and never in the content. See "
        "docs/reasoning.md.",
        "serve/api/test_reasoning.py::test_a_level_is_a_budget",
        default="what the template does",
    ),
    Row(
        "verbosity",
        "honoured",
        "`low`, `medium` or `high`",
        "How long-winded the answer is: the variable of that name where the model's template has "
        "one, else a sentence in the system part (docs/api.md). `medium` changes nothing.",
        "serve/api/test_verbosity.py::test_the_template_or_the_system_part_says_it",
        default="`medium`",
    ),
    Row(
        "service_tier",
        "honoured",
        '"auto", "default", "flex", "scale" or "priority"',
        "How soon the request is served: `priority` before `default`, which `auto` and `scale` "
        "are too, and that before `flex`. Keys that may not have `priority` (--priority-keys) get "
        "`default`. The response and every chunk name the tier that was used, where one was sent.",
        "serve/api/test_service_tiers.py::test_the_tier_reaches_the_engine_and_is_named",
        default="`default`",
    ),
    Row(
        "store",
        "honoured",
        "true or false; true where the server has a store",
        "Keeps request and answer, which are there for good before the answer has been told; see "
        "docs/stored-completions.md. A store that cannot take them is told by a 503 before "
        "anything is generated.",
        "serve/api/test_stored.py::test_store_keeps_the_answer_and_what_was_asked",
        default="false",
    ),
    Row(
        "audio",
        "honoured",
        "`format` (`wav`, `mp3`, `flac`, `opus`, `aac` or `pcm16`; that alone with `stream`) and "
        '`voice`, a name or `{"id": …}`; with `audio` among `modalities` only',
        "How the answer is spoken. A stream tells the transcript as it is written, and the sound "
        "as it is spoken. A later turn may name the answer by its id instead of repeating it. See "
        "docs/audio.md.",
        "serve/api/test_spoken.py::test_an_answer_is_spoken",
    ),
    Row(
        "web_search_options",
        "honoured",
        "an object with `search_context_size` (`low`, `medium` or `high`) and `user_location` of "
        "type `approximate`; where the server was started with somewhere to search",
        "Searches for what the user asks before the answer. What is found is shown to the model "
        "with numbers, and where the answer gives one, an annotation tells the page. Where nothing "
        "can be found, `x-parlance-no-search` says why. See docs/web-search.md.",
        "serve/api/test_web_search.py::test_sources_are_shown_and_cited",
    ),
    Row(
        "top_k",
        "extension",
        "0 or more; 0 or -1 for all",
        "Keeps the k likeliest tokens, the lowest ids of equals.",
        f"{_EFFECTS}top_k",
        default="0",
        step=7,
    ),
    Row(
        "min_p",
        "extension",
        "0 to 1",
        "Keeps the tokens that are at least `min_p` times as likely as the likeliest.",
        f"{_EFFECTS}min_p",
        default="0",
        step=9,
    ),
    Row(
        "min_tokens",
        "extension",
        "0 or more, up to the bound on the answer's tokens",
        "Bans the end-of-turn tokens, and those of `stop_token_ids`, until so many tokens are "
        "sampled. A stop string ends the answer before that all the same.",
        f"{_EFFECTS}min_tokens",
        default="0",
        step=5,
    ),
    Row(
        "ignore_eos",
        "extension",
        "true or false",
        "Bans the end-of-turn tokens throughout.",
        f"{_EFFECTS}ignore_eos",
        default="false",
        step=5,
    ),
    Row(
        "repetition_penalty",
        "extension",
        "0.01 to 2",
        "Divides the positive logits of the tokens that the prompt holds or this choice has "
        "sampled, and multiplies the others.",
        f"{_EFFECTS}repetition_penalty",
        default="1",
        step=3,
    ),
    Row(
        "stop_token_ids",
        "extension",
        "up to 32 ids of the model's vocabulary",
        "The answer ends before the first of these tokens, with `finish_reason` `stop`, as at the "
        "end of its turn. `min_tokens` bans them at first, `ignore_eos` does not.",
        f"{_EFFECTS}stop_token_ids",
    ),
    Row(
        "include_stop_str_in_output",
        "extension",
        "true or false",
        "Whether the string of `stop`, or the token of `stop_token_ids`, that ends the answer is "
        "the last of it.",
        "serve/api/test_stop_token_ids.py::test_what_ends_an_answer_may_be_part_of_it",
        default="false",
    ),
    Row(
        "guided_json",
        "extension",
        "a JSON schema, or the text of one",
        f"The answer is JSON that the schema describes, as by `response_format` with a strict "
        f"schema. {_ONE_FORM}",
        f"{_FORMS}test_answers_have_the_form",
    ),
    Row(
        "guided_regex",
        "extension",
        "a regular expression",
        f"The whole answer matches it. The syntax is that of custom tools. {_ONE_FORM}",
        f"{_FORMS}test_answers_have_the_form",
    ),
    Row(
        "guided_choice",
        "extension",
        "1 to 1,024 strings of up to 1,024 characters",
        f"The answer is one of these texts. {_ONE_FORM}",
        f"{_FORMS}test_answers_have_the_form",
    ),
    Row(
        "guided_grammar",
        "extension",
        "a grammar in Lark, or in EBNF (`root ::= …`)",
        f"The answer is a text of the grammar's language. {_ONE_FORM}",
        f"{_FORMS}test_answers_have_the_form",
    ),
    Row(
        "structured_outputs",
        "extension",
        "an object with one of `json`, `regex`, `choice`, `grammar`, or `json_object: true`; also "
        "`disable_any_whitespace` and `disable_fallback`, which ask for what is done anyway",
        f"The newer form of the `guided_` fields. {_ONE_FORM}",
        f"{_FORMS}test_answers_have_the_form",
    ),
    Row(
        "bad_words",
        "extension",
        "up to 128 strings of 1 to 64 characters",
        "The answer's text never contains one of these strings, wherever tokens and words begin "
        "and end: `cat` rules out `category` too. Capital letters are others. In calls of tools "
        "it holds for the text as the model writes it.",
        "serve/api/test_bad_words.py::test_no_answer_has_a_bad_word",
    ),
    Row(
        "prompt_logprobs",
        "extension",
        "0 to 20; not with `stream: true`",
        "Report the log-probability of each of the prompt's tokens but the first, and so many of "
        "the likeliest tokens at its place. The whole prompt is then computed: nothing of it is "
        "taken from the cache.",
        "serve/api/test_prompt_logprobs.py::test_every_token_of_the_prompt_is_told",
    ),
    Row(
        "chat_template_kwargs",
        "extension",
        "an object with up to 32 of the variables that the model's template knows",
        "Values for variables of the template, like `enable_thinking`. A variable that the "
        "template does not know, or that another field sets, is refused. What they say is text: "
        "no control token comes of it.",
        "serve/api/test_reasoning.py::test_chat_template_kwargs_reach_the_template",
    ),
    Row(
        "add_generation_prompt",
        "extension",
        "true or false",
        "Whether the prompt ends with the opening of the assistant's turn. Without it the model "
        "goes on after the last message.",
        "serve/api/test_reasoning.py::test_add_generation_prompt_and_its_opposite",
        default="true, unless `continue_final_message` is",
    ),
    Row(
        "continue_final_message",
        "extension",
        "true or false; true where the last message is the assistant's and ends with words, and "
        "not with `add_generation_prompt: true`, tools, a form, or an effort but `none`",
        "The answer goes on in the last message, from its last character.",
        "serve/api/test_reasoning.py::test_continue_final_message_goes_on_in_it",
        default="false",
    ),
)
