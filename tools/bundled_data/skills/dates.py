"""Days of the week, months, and amounts in other units."""

from tools.bundled_data.exchange import Exchange, Situation
from tools.bundled_data.grammar import Phrasings, Split, fill, in_split, roughen
from tools.bundled_data.judges import exactly
from tools.bundled_data.lists_of_things import items_of
from tools.bundled_data.skills.arithmetic import multiplied
from tools.bundled_data.tables import rows_of, table

DATES, UNITS = "dates", "units"
DAYS, MONTHS = items_of("day of the week"), items_of("month")
MOST_DAYS = 10
_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_CALENDAR = {name: Phrasings(*lines) for name, lines in table("calendar")["calendar"].items()}
_CONVERT = Phrasings(*table("calendar")["units"]["convert"])
_UNITS = rows_of(table("calendar")["units"]["rows"], ("from", "to", "factor", "most"))


def dates(now: Situation) -> list[Exchange]:
    """A question about days or months."""
    rng = now.rng
    at, month = rng.randrange(7), rng.randrange(12)
    day, name, number = DAYS[at], MONTHS[month], str(month + 1)
    match request := rng.choice((*_CALENDAR, "days_later", "days_later")):
        case "day_after":
            brief = DAYS[(at + 1) % 7]
            return _answer(now, request, f"{brief} comes after {day}.", brief, day=day)
        case "day_before":
            brief = DAYS[at - 1]
            return _answer(now, request, f"{brief} comes before {day}.", brief, day=day)
        case "days_later":
            return _days_later(now, at)
        case "month_after":
            brief = MONTHS[(month + 1) % 12]
            return _answer(now, request, f"{brief} comes after {name}.", brief, month=name)
        case "month_before":
            brief = MONTHS[month - 1]
            return _answer(now, request, f"{brief} comes before {name}.", brief, month=name)
        case "month_number":
            return _answer(now, request, f"{name} is month {number}.", number, month=name)
        case "month_of":
            return _answer(now, request, f"Month {number} is {name}.", name, n=number)
        case _:
            brief = str(_LENGTHS[month])
            leap = ", in a leap year 29" if month == 1 else ""
            return _answer(now, request, f"{name} has {brief} days{leap}.", brief, month=name)


def units(now: Situation) -> list[Exchange]:
    """An amount in another unit."""
    rng = now.rng
    while True:
        row = rng.choice(_UNITS)
        number = rng.randint(1, int(row["most"]))
        # What one is can't be worked out.
        if number == 1:
            if now.split is Split.TRAIN:
                break
        elif in_split(f"{number} {row['from']} {row['to']}", now.split):
            break
    count, result = str(number), str(number * int(row["factor"]))
    source = row["from"] if number > 1 else _singular(row["from"])
    asked = (
        rng.choice((count, "an" if source[0] in "aeiou" else "a", "one")) if number == 1 else count
    )
    slots = {"n": asked, "from": source, "to": row["to"]}
    user = fill(roughen(rng, _CONVERT.draw(rng, now.split)), slots)
    answer = f"{count} {source} {'is' if number == 1 else 'are'} {result} {row['to']}."
    thought = multiplied(number, int(row["factor"])) if set(row["factor"]) - set("10") else ""
    thought = thought or f"{count} * {row['factor']} = {result}"
    judge = exactly(answer, result)
    return [Exchange(UNITS, user, answer, judge, thought, works=number > 1, brief=result)]


def _days_later(now: Situation, at: int) -> list[Exchange]:
    while True:
        number = now.rng.randint(2, MOST_DAYS)
        if number == 2 and now.split is Split.TRAIN:
            break
        if number > 2 and in_split(f"{number} after {DAYS[at]}", now.split, 6):
            break
        at = now.rng.randrange(7)
    passed = [DAYS[(at + step) % 7] for step in range(1, number + 1)]
    thought = ", ".join(f"{step} {day}" for step, day in enumerate(passed, 1))
    answer = f"{number} days after {DAYS[at]} is {passed[-1]}."
    made = _answer(now, "days_later", answer, passed[-1], day=DAYS[at], n=str(number))
    return [Exchange(DATES, made[0].user, answer, made[0].judge, thought, True, passed[-1])]


def _answer(now: Situation, request: str, answer: str, brief: str, **slots: str) -> list[Exchange]:
    user = fill(roughen(now.rng, _CALENDAR[request].draw(now.rng, now.split)), slots)
    return [Exchange(DATES, user, answer, exactly(answer, brief), brief=brief)]


def _singular(unit: str) -> str:
    return {"feet": "foot", "inches": "inch", "centuries": "century"}.get(unit, unit[:-1])
