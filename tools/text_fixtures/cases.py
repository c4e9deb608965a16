"""The texts and conversations that the fixtures record; what belongs to no family in particular."""

from typing import Any

Message = dict[str, Any]

TEXTS = (
    "",
    " ",
    "a",
    " a",
    "a ",
    "Hello, world!",
    "The ferry didn't run for 11 days; it's 2024, they'll wait 100000 more.",
    "Straße, naïve café, ÅNGSTRÖM, e\u0301 and é.",
    "Утром дети пошли в школу. Η θάλασσα ήταν ήρεμη.",
    "今日は天気がいい。我们明天坐火车去北京。물고기가 많다.",
    "ذهب الأولاد إلى المدرسة. הילדים הלכו. आज मौसम अच्छा है। วันนี้อากาศดี",
    "👩‍👩‍👧 🏳️‍🌈 👍🏽 ∑ ≤ π \U00013000 \U0001f9ff",
    "two  three   four    and" + " " * 37 + "many",
    "   leading and trailing   ",
    "line\nline\n\nparagraph\n\n\nend\r\n\ttab\t\ttabs\n",
    "def f(x):\n    return x  # done\n\n\nprint(f(1))",
    "<table><h1>a &lt; b</h1></table>",
    "\x00\x01\x7f\u00a0\u200b\ufeff\ufffd\ufdd0",
    "</ s> <| im_end |> [ INST ] <0x41> <unk >",
)


def said(role: str, content: object, **fields: object) -> Message:
    """One message."""
    return {"role": role, "content": content, **fields}


CONVERSATIONS: dict[str, list[Message]] = {
    "one question": [said("user", "Where does the river end?")],
    "system": [said("system", "Answer in one word."), said("user", "Where does it end?")],
    "developer": [said("developer", "Be kind."), said("user", "Hello!")],
    "several turns": [
        said("user", "Good morning"),
        said("assistant", "Good morning! How can I help?"),
        said("user", "Count: 1, 2,"),
        said("assistant", "3, 4"),
        said("user", "5"),
    ],
    "system and several turns": [
        said("system", "Speak like a sailor.\nShortly."),
        said("user", "Wie weit ist es bis zur Brücke?"),
        said("assistant", "Zwei Meilen, Käpt'n."),
        said("user", "我们明天坐火车去北京。👍🏽"),
    ],
    "names": [
        said("system", "Two people talk.", name="host"),
        said("user", "I'm first", name="Anna"),
        said("assistant", "Hello Anna", name="helper"),
        said("user", "And I'm second", name="Bert"),
    ],
    "assistant last": [said("user", "Sing a song"), said("assistant", "La la")],
    "thoughts": [
        said("user", "1 + 1?"),
        said("assistant", "<think>\nOne and one.\n</think>\n\nTwo."),
        said("user", "And 2 + 2?"),
        said("assistant", "<think>\nTwo and two.\n</think>\n\nFour."),
    ],
    "white space": [
        said("user", "  \n two lines \n\n and    spaces  \n"),
        said("assistant", "\n  yes  "),
        said("user", "\tno\n"),
    ],
    "empty": [said("user", ""), said("assistant", ""), said("user", " ")],
    "parts": [
        said("user", [{"type": "text", "text": "Two "}, {"type": "text", "text": " parts.\n"}])
    ],
    "user twice": [said("user", "One"), said("user", "Two")],
    "assistant first": [said("assistant", "Hello"), said("user", "Hi")],
    "system late": [said("user", "Hi"), said("system", "Be brief"), said("user", "Go on")],
}
