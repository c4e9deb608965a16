import pytest

from serve.text.calls.detect import FORMATS, by_name, detect

# What tells a family, as its published template has it.
TEMPLATES = {
    "hermes": '{{- \'<tool_call>\\n{"name": "\' + c.name + \'", "arguments": \' }}',
    "llama3": '{{- "<|start_header_id|>ipython" }}{{- \'"parameters": \' }}{{ arguments }}',
    "mistral": '{{- "[TOOL_CALLS] [" }}{{ c.function|tojson }}',
    "mistral-ids": "{{- '[TOOL_CALLS]' + name + '[CALL_ID]' + id + '[ARGS]' + arguments }}",
    "mistral-args": "{{- '[TOOL_CALLS]' + name + '[ARGS]' + arguments }}",
    "gemma3": "{{ '<start_of_turn>' + role + '\\n' }}",
    "phi4-mini": "{{ message['content'] + '<|tool|>' + message['tools'] + '<|/tool|>' }}",
    "functools": 'formatted as functools[{"name": [function name]}] <|tool|>',
    "gpt-oss": '{{- "<|start|>assistant to=functions." }}<|channel|>commentary json<|message|>',
    "generic": "{{ '<|im_start|>' + message.role }}",
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_template_tells_its_format(name: str) -> None:
    assert detect(TEMPLATES[name]).name == name


@pytest.mark.parametrize(
    "source",
    [
        "",
        # Qwen3-Coder: XML between the tags.
        "<tool_call>\\n<function=' + name + '>\\n<parameter=' + arguments",
        # GLM: XML again.
        "<tool_call>' + name + '<arg_key>' + k + '</arg_key>' in tc.arguments",
        # Llama 3.0, which knows no tools.
        "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>' }}",
    ],
)
def test_others_get_ours(source: str) -> None:
    assert detect(source).name == "generic"


def test_names() -> None:
    assert by_name("hermes") is FORMATS["hermes"]
    with pytest.raises(ValueError, match="no tool format 'xml'; choose one of hermes, llama3"):
        by_name("xml")
