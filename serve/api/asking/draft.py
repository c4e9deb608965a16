"""A request's body to all but its constraint, from step to step, in any process.

Owns the order of the steps, and so which fault is told where there are several. Knows nothing of
HTTP beyond the body, nor of where it runs: what it is made of can be pickled, and so can what
it makes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from serve.api.asking.answer_form import AnswerForm, answer_form
from serve.api.asking.answer_schema import AnswerSchema
from serve.api.asking.asked_tools import AskedTools, asked_tools
from serve.api.asking.bounds import check_choices, token_bound
from serve.api.asking.cache_fields import check_retention
from serve.api.asking.constraint import check_sizes
from serve.api.asking.content_coding import Body, decoded
from serve.api.asking.conversation import ConversationRenderer, Ending
from serve.api.asking.filtered import check_texts, texts
from serve.api.asking.json_body import parse_object
from serve.api.asking.media import MediaRefusals, Shown, asked_media, views
from serve.api.asking.model_name import adapter_of
from serve.api.asking.no_effect import without_effect
from serve.api.asking.reasoning import UNASKED, AskedThoughts, asked_effort, begun
from serve.api.asking.sampling_fields import check_tokens, sampling_params, without_token
from serve.api.asking.searcher import no_search
from serve.api.asking.speech import NO_SPEECH, SpeechOffer, check_answers, check_speech
from serve.api.asking.to_store import ToStore, to_store
from serve.api.asking.validation import first_fault
from serve.api.asking.wanted import Wanted, asked_answers, asked_search
from serve.api.settings import ApiSettings
from serve.api.wire.guided import StructuredOutputs
from serve.api.wire.request import ChatRequest
from serve.api.wire.web_search import CitedSource
from serve.engine.types import EngineInfo, GenerationRequest
from serve.filter.content_filter import ContentFilter
from serve.text.thoughts.format import ThoughtFormat

_ALL_TAKEN = MediaRefusals()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A valid request, and what it asks of the engine.

    Attributes:
        wire: the request as it was sent, without what its prompt was made of.
        submission: what the engine is to do.
        form: what each answer must be, if not just text.
        tools: what may be called, if anything.
        no_effect: what of the request changes nothing, as the response names it; "" for none.
        bad_words: what no answer may contain.
        to_store: what is stored of it, if anything.
        thoughts: what may be thought before the answers.
        to_moderate: texts that are to be judged elsewhere, each after its path.
        picture_starts: where in the prompt the tokens of each view of its pictures begin.
        sources: that the prompt numbers, for answers to cite.
        unsearched: why a search found nothing, in a word; "" where it did, or there was none.
    """

    wire: ChatRequest
    submission: GenerationRequest
    form: AnswerForm | None
    tools: AskedTools | None
    no_effect: str = ""
    bad_words: Sequence[str] = ()
    to_store: ToStore | None = None
    thoughts: AskedThoughts = UNASKED
    to_moderate: Sequence[tuple[str, str]] = ()
    picture_starts: Sequence[int] = ()
    sources: Sequence[CitedSource] = ()
    unsearched: str = ""

    @property
    def may_refuse(self) -> bool:
        """Whether an answer may be a refusal instead of what is asked for."""
        return isinstance(self.form, AnswerSchema) and self.form.may_refuse


@dataclass(frozen=True, slots=True)
class Drafter:
    """Reads bodies for one model.

    Attributes:
        conversations: renders prompts.
        info: facts about the model.
        end_ids: the ids that end the assistant's turn.
        settings: of the HTTP side.
        thoughts: how the model marks them, if it has any.
        content_filter: what no request may say; None for anything.
        media_refusals: why pictures, files and sound are not taken, if so.
        speech: which voices there are.
        searches: whether there is somewhere to search.
    """

    conversations: ConversationRenderer
    info: EngineInfo
    end_ids: frozenset[int]
    settings: ApiSettings
    thoughts: ThoughtFormat | None = None
    content_filter: ContentFilter | None = None
    media_refusals: MediaRefusals = _ALL_TAKEN
    speech: SpeechOffer = NO_SPEECH
    searches: bool = False

    def draft(
        self, body: Body, completion_id: str, shown: Shown | None = None
    ) -> Prepared | Wanted:
        """The request in `body` but for its constraint, under the name `completion_id`.

        Args:
            body: of the request.
            completion_id: names the request.
            shown: what stands for what it wants; None where that is not yet there.

        Returns:
            the request; or, if it wants something that is not yet there, that.

        Raises:
            ApiError: 400 or 404, the first thing that is wrong with it; 413, it unfolds to more
                than a body may have.
        """
        data = decoded(body, self.settings.max_body_bytes)
        fields = parse_object(data, self.settings.max_json_depth)
        try:
            wire = ChatRequest.model_validate(fields)
        except ValidationError as error:
            raise first_fault(error) from error
        vocab_size = self.info.vocab_size
        adapter = adapter_of(wire.model, self.settings)
        check_retention(wire, keeps_pages=self.settings.keeps_pages)
        stored = to_store(wire, fields, self.settings)
        check_choices(wire, self.settings.max_choices, self.info.most_choices)
        renderer = self.conversations.renderer
        known, budgets = renderer.template.variables, self.settings.reasoning_budgets
        given = wire.chat_template_kwargs or {}
        effort = asked_effort(wire.reasoning_effort, given, self.thoughts, known, budgets)
        sampling = sampling_params(wire, vocab_size, self.settings.sampling_defaults)
        if effort.none and self.thoughts is not None:
            opening = renderer.tokenizer.controls.get(self.thoughts.opening)
            sampling = sampling if opening is None else without_token(sampling, opening)
        check_tokens(sampling, vocab_size, self.end_ids)
        form, tools = answer_form(wire, self.settings.max_json_depth), asked_tools(wire)
        if self.settings.refusals and isinstance(form, AnswerSchema):
            form = form.refusable()
        check_sizes(form, tools, self.settings.max_grammar_bytes)
        if self.content_filter is not None:
            check_texts(wire.messages, self.content_filter, shown or {})
        media = asked_media(wire.messages, self.media_refusals)
        wanted = Wanted(media, asked_answers(wire.messages), asked_search(wire))
        check_answers(wanted.answers, self.speech)
        check_speech(wire, self.speech)
        if wanted.search is not None and not self.searches:
            raise no_search()
        if shown is None and wanted.anything:
            return wanted
        shown = shown or {}
        pictures = views(media, shown)
        context = self.info.context_length
        ending = Ending(
            wire.add_generation_prompt is not False,
            bool(wire.continue_final_message),
            effort.variables,
        )
        prompt = self.conversations.prompt(
            wire.messages,
            *(form, tools, context, ending),
            verbosity=wire.verbosity,
            shown=shown,
            pictures=pictures,
        )
        prompt, thoughts = begun(prompt, self.thoughts, effort, ending, renderer)
        most = token_bound(wire, len(prompt), context, self.settings.max_answer_tokens)
        predicted, room = wire.prediction, context - len(prompt)
        submission = GenerationRequest(
            id=completion_id,
            prompt=prompt,
            max_tokens=most,
            sampling=sampling,
            choices=wire.choices,
            end_ids=self.end_ids,
            tells_stop_id=bool(wire.include_stop_str_in_output),
            prompt_logprobs=wire.prompt_logprobs,
            prediction=[] if predicted is None else renderer.answer_ids(predicted.text, room),
            adapter=adapter,
            cache_group=wire.prompt_cache_key or "",
            cached_for_days=wire.cached_for_days,
        )
        no_effect = without_effect(
            wire.messages,
            wire.tools or (),
            predicted,
            shows_thoughts=bool(renderer.template.thoughts),
        )
        banned = wire.bad_words or ()
        return Prepared(
            *(_without_prompt(wire), submission, form, tools, no_effect, banned, stored),
            thoughts=thoughts,
            to_moderate=(
                tuple(texts(wire.messages, shown)) if self.settings.moderation is not None else ()
            ),
            picture_starts=renderer.starts(prompt, pictures),
        )


def _without_prompt(wire: ChatRequest) -> ChatRequest:
    """What answers need of a request; the rest would be kept as long as they run."""
    gone: Mapping[str, object] = {
        "messages": [],
        "logit_bias": None,
        "response_format": None,
        "tools": wire.tools and [],
        "tool_choice": None,
        "functions": wire.functions and [],
        "function_call": None,
        "prediction": None,
        "guided_json": wire.guided_json and {},
        "guided_regex": wire.guided_regex and "",
        "guided_choice": wire.guided_choice and [],
        "guided_grammar": wire.guided_grammar and "",
        "structured_outputs": wire.structured_outputs and StructuredOutputs.model_construct(),
        "bad_words": None,
        "chat_template_kwargs": None,
    }
    return wire.model_copy(update=gone)
