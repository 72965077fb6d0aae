"""The forms that an English word takes in a sentence: plurals, third persons, pasts, participles, comparatives.

Rules and a table of exceptions rather than a library: those at hand are unmaintained or of tens of megabytes, hold
pickled models, and go from form to word. A form too many, such as "runned", does no harm, since nobody says it; a form
that is a word of its own would, so comparatives are made of known adjectives only ("baller" is no ball).
"""

from functools import cache

VOWELS = "aeiou"


def forms(word: str) -> list[str]:
    """The forms of `word`, which is in its base form, in lower case; of several words the last one is inflected."""
    before, space, base = word.lower().rpartition(" ")
    found = [base, *_irregular().get(base, ()), *_with_s(base), *_past(base), *_going_on(base), *_compared(base)]
    return [before + space + form for form in dict.fromkeys(found)]


def _with_s(word: str) -> list[str]:
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return [f"{word}es"] + ([f"{word}{word[-1]}es"] if _doubles(word) else [])
    if word.endswith("y") and word[-2:-1] not in VOWELS:
        return [f"{word[:-1]}ies"]
    if word.endswith("o"):
        return [f"{word}s", f"{word}es"]
    if word.endswith(("lf", "af", "arf", "ife", "oof")):
        return [f"{word}s", f"{word.removesuffix('e').removesuffix('f')}ves"]
    return [f"{word}s"]


def _past(word: str) -> list[str]:
    if word.endswith("e"):
        return [f"{word}d"]
    if word.endswith("y") and word[-2:-1] not in VOWELS:
        return [f"{word[:-1]}ied"]
    return [f"{word}ed"] + ([f"{word}{word[-1]}ed"] if _doubles(word) else []) + _after_c(word, "ked")


def _going_on(word: str) -> list[str]:
    if word.endswith("ie"):
        return [f"{word[:-2]}ying"]
    if word.endswith("e") and not word.endswith(("ee", "oe", "ye")):
        return [f"{word[:-1]}ing", *([f"{word}ing"] if word.endswith("nge") else [])]
    return [f"{word}ing"] + ([f"{word}{word[-1]}ing"] if _doubles(word) else []) + _after_c(word, "king")


def _after_c(word: str, ending: str) -> list[str]:
    return [f"{word}{ending}"] if word.endswith("ic") else []


def _doubles(word: str) -> bool:
    """Whether the last letter may be doubled, as in "stopped", "travelled" and "quizzes"."""
    last, before, third = word[-1:], word[-2:-1], word[-3:-2]
    return last.isalpha() and last not in VOWELS + "wxy" and before in VOWELS and (third not in VOWELS or third == "u")


def _compared(word: str) -> list[str]:
    if word not in ADJECTIVES.split():
        return []
    if word.endswith("e"):
        return [f"{word}r", f"{word}st"]
    if word.endswith("y") and word[-2:-1] not in VOWELS:
        return [f"{word[:-1]}ier", f"{word[:-1]}iest"]
    doubled = [word + word[-1] + ending for ending in ("er", "est")] if _doubles(word) else []
    return [f"{word}er", f"{word}est", *doubled]


@cache
def _irregular() -> dict[str, tuple[str, ...]]:
    """The forms of `IRREGULAR` by their base."""
    lines = (line.split() for line in IRREGULAR.split(",") if line.strip())
    return {base: tuple(others) for base, *others in lines}


IRREGULAR = """
be am is are was were been being, have has had, do does did done, go goes went gone,
arise arose arisen, awake awoke awoken, bear bore borne born, beat beaten, become became, begin began begun,
behold beheld, bend bent, bet, bid bade bidden, bind bound, bite bit bitten, bleed bled, blow blew blown, break broke
broken, breed bred, bring brought, broadcast, build built, burn burnt, burst, buy bought, cast, catch caught,
choose chose chosen, cling clung, come came, cost, creep crept, cut, deal dealt, dig dug, dive dove, draw drew drawn,
dream dreamt, drink drank drunk, drive drove driven, dwell dwelt, eat ate eaten, fall fell fallen, feed fed, feel felt,
fight fought, find found, fit, flee fled, fling flung, fly flew flown flies, forbid forbade forbidden, forget forgot
forgotten, forgive forgave forgiven, freeze froze frozen, get got gotten, give gave given, grind ground, grow grew
grown, hang hung, hear heard, hide hid hidden, hit, hold held, hurt, keep kept, kneel knelt, knit, know knew known,
lay laid, lead led, lean leant, leap leapt, learn learnt, leave left leaves leaf, lend lent, let, lie lay lain,
light lit, lose lost, make made, mean meant, meet met, mistake mistook mistaken, mow mown, overcome overcame,
overtake overtook overtaken, pay paid, prove proven, put, quit, read, rend rent, rid, ride rode ridden, ring rang rung,
rise rose risen, run ran, saw sawn, say said, see saw seen, seek sought, sell sold, send sent, set, sew sewn,
shake shook shaken, shave shaven, shear shorn, shed, shine shone, shoot shot, show shown, shrink shrank shrunk, shut,
sing sang sung, sink sank sunk, sit sat, slay slew slain, sleep slept, slide slid, sling slung, slit, smell smelt,
sneak snuck, sow sown, speak spoke spoken, speed sped, spell spelt, spend spent, spill spilt, spin spun, spit spat,
split, spoil spoilt, spread, spring sprang sprung, stand stood, steal stole stolen, stick stuck, sting stung,
stink stank stunk, stride strode stridden, strike struck stricken, string strung, strive strove striven, swear swore
sworn, sweep swept, swell swollen, swim swam swum, swing swung, take took taken, teach taught, tear tore torn,
tell told, think thought, throw threw thrown, thrust, tread trod trodden, understand understood, undertake undertook
undertaken, upset, wake woke woken, wear wore worn, weave wove woven, weep wept, wet, win won, wind wound,
withdraw withdrew withdrawn, wring wrung, write wrote written,
man men, woman women, child children, person people persons, foot feet, tooth teeth, goose geese, mouse mice,
louse lice, ox oxen, die dice, penny pence, half halves, shelf shelves, self selves, elf elves, calf calves,
thief thieves, sheaf sheaves, cactus cacti, fungus fungi, nucleus nuclei, stimulus stimuli, radius radii,
alumnus alumni, syllabus syllabi, focus foci, analysis analyses, basis bases, crisis crises, oasis oases,
thesis theses, axis axes, phenomenon phenomena, criterion criteria, datum data, medium media, bacterium bacteria,
index indices, appendix appendices, vertex vertices, matrix matrices, fireman firemen, policeman policemen,
fisherman fishermen, snowman snowmen, gentleman gentlemen, salesman salesmen, businessman businessmen,
cameraman cameramen, workman workmen, grandchild grandchildren,
good better best, well better best, bad worse worst, badly worse worst, far farther farthest further furthest,
little less least, many more most, much more most, old elder eldest
"""

ADJECTIVES = """
angry big bitter black bland blue bold brave brief bright broad busy calm cheap chewy clean clear clever close cloudy
cold cool crazy creamy crisp cruel curly curvy cute damp dark deadly deep dense dirty dry dull dumb dusty early easy
faint fair fancy fast fat few fierce filthy fine firm flat free fresh friendly full funny gentle gloomy grand grave gray
great greasy greedy green grey guilty hairy handy happy hard harsh healthy heavy high hip hot humble hungry icy itchy
juicy keen kind large late lazy light likely lively lonely long loud lovely low lucky mad mean messy mild moist mighty
narrow nasty naughty near neat new nice noisy odd oily old pale pink plain polite poor pretty proud pure quick quiet
rare raw red rich ripe risky roomy rough round rude rusty sad safe salty sane scary shallow sharp shiny short shy silly
simple sincere skinny sleepy slim slimy slow small smart smelly smoky smooth soft soon sore sorry sour spicy steady
steep still stormy straight strange strict strong sunny sweet swift tall tame tan tasty thick thin thirsty tidy tight
tiny tired tough true ugly warm wary weak wealthy weird wet white wide wild windy wise worldly worthy yellow young
"""
