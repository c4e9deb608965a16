"""Generation without a server, for notebooks and scripts: prompts in, answers out.

with LocalModel.load() as model:
    answers = model.generate(["Once upon a time"], SamplingParams(temperature=0.7), n=4)
"""

from serve.offline.answers import Answer, Choice, Token
from serve.offline.local_model import LocalModel
from serve.offline.prompts import Prompt

__all__ = ["Answer", "Choice", "LocalModel", "Prompt", "Token"]
