"""Checks for notebook 09: predict the file, a decoder's order, the initial bits, two latents one above the other."""

import math

import numpy as np

from vae_lib.bits_back import Codec, table_codec
from vae_lib.entropy_coding import Message, from_bytes, integer_table, to_bytes
from vae_lib.exercises.engine import Exercise, Misconception

# 09.2


def _bills(rng: np.random.Generator) -> list[tuple]:
    return [
        (rng.uniform(1500, 2500, size=images), lanes, bits, header)
        for images, lanes, bits, header in ((1, 1, 200.0, 40), (10, 4, 256.0, 52), (300, 32, 237.5, 164))
    ]


def _predicted(nats: np.ndarray, lanes: int, initial_bits: float, header_bytes: int) -> float:
    """A plain loop, in bits."""
    bits = 8.0 * header_bytes
    for n in nats.tolist():
        bits += n / math.log(2)
    for _ in range(lanes):
        bits += initial_bits
    return bits / 8


PREDICT = Exercise(
    id="09.2",
    title="Predict the file",
    cases=_bills,
    oracle=_predicted,
    misconceptions=[
        Misconception(
            "nats are bits",
            lambda nats, lanes, initial_bits, header_bytes: header_bytes + (nats.sum() + lanes * initial_bits) / 8,
            "yours is {yours} bytes where {right} is right: the images' share is 0.69 of what it should be. They are in nats; "
            "a nat is log2(e) bits.",
        ),
        Misconception(
            "initial bits are given back, so they are not in the file",
            lambda nats, lanes, initial_bits, header_bytes: header_bytes + nats.sum() / math.log(2) / 8,
            "yours is {yours} bytes where {right} is right: the initial bits are missing. They come back, but only to the one who "
            "decodes the file, and so they must be in it.",
        ),
        Misconception(
            "one file, one set of initial bits",
            lambda nats, lanes, initial_bits, header_bytes: (
                header_bytes + (nats.sum() / math.log(2) + initial_bits) / 8
            ),
            "yours is right for one lane; with more it is {yours} where {right} is right: each lane starts a chain of its own.",
        ),
        Misconception(
            "every image needs initial bits",
            lambda nats, lanes, initial_bits, header_bytes: (
                header_bytes + (nats.sum() / math.log(2) + len(nats) * initial_bits) / 8
            ),
            "yours is {yours} where {right} is right: after the first image of a lane there are bits enough on the stack, so only "
            "each *lane* pays for a beginning, not each image.",
        ),
        Misconception(
            "the header is in bits",
            lambda nats, lanes, initial_bits, header_bytes: (
                (header_bytes + nats.sum() / math.log(2) + lanes * initial_bits) / 8
            ),
            "yours is {yours} where {right} is right, a little too small: the header is in bytes already.",
        ),
        Misconception(
            "a size is in bits",
            lambda nats, lanes, initial_bits, header_bytes: (
                8 * header_bytes + nats.sum() / math.log(2) + lanes * initial_bits
            ),
            "yours is {yours} where {right} is right (ratio {ratio}): these are bits; a byte has eight.",
        ),
    ],
    notice="the prediction needs no codec at all, only the ELBO. That is what makes it a test of the codec.",
)


# 09.1 and 09.4: small models with tables


def _message(rng: np.random.Generator) -> Message:
    return from_bytes(bytes([0, 0, 0, 1]) + rng.bytes(400))


def _tables(rng: np.random.Generator, alphabet: int, *given: int) -> np.ndarray:
    """Cumulative counts (*given, alphabet + 1) of a random conditional distribution."""
    counts = [integer_table(row) for row in rng.dirichlet(np.full(alphabet, 0.7), size=math.prod(given))]
    return np.array(counts).reshape(*given, alphabet + 1)


def _labelled_cases(rng: np.random.Generator) -> list[tuple]:
    """Messages that hold some labelled symbols, and the tables they were pushed with."""
    cases = []
    for labels, latents, levels, images in ((2, 3, 4, 1), (3, 5, 9, 6), (4, 8, 6, 12)):
        tables = (
            _tables(rng, labels, 1)[0],
            _tables(rng, latents, labels),
            _tables(rng, levels, latents),
            _tables(rng, latents, levels, labels),
        )
        codecs, message = _labelled(tables), _message(rng)
        for _ in range(images):
            x, y = int(rng.integers(levels)), int(rng.integers(labels))
            message = _push_labelled(message, x, y, *codecs)
        cases.append((to_bytes(message), tables, images))
    return cases


def _labelled(tables: tuple) -> tuple:
    label, prior, likelihood, posterior = tables
    return (
        table_codec(label),
        lambda y: table_codec(prior[y]),
        lambda z: table_codec(likelihood[z]),
        lambda x, y: table_codec(posterior[x, y]),
    )


def _push_labelled(message, x, y, label, prior, likelihood, posterior):
    z, message = posterior(x, y).pop(message)
    message = likelihood(z).push(message, x)
    message = prior(y).push(message, z)
    return label.push(message, y)


def _pop_all(function, data, tables, images):
    """All images off the message: their x and y, then the bytes that are left."""
    message, found = from_bytes(data), []
    for _ in range(images):
        x, y, message = function(message, *_labelled(tables))
        found.append((int(x), int(y)))
    return (*found, to_bytes(message))


def _pop_labelled(message, label, prior, likelihood, posterior):
    """As a list of undone steps."""
    (y, rest) = label.pop(message)
    (z, rest) = prior(y).pop(rest)
    (x, rest) = likelihood(z).pop(rest)
    return x, y, posterior(x, y).push(rest, z)


def _never_pushed(message, label, prior, likelihood, posterior):
    y, message = label.pop(message)
    z, message = prior(y).pop(message)
    x, message = likelihood(z).pop(message)
    return x, y, message


def _in_the_encoders_order(message, label, prior, likelihood, posterior):
    """z with y and x still unknown: takes y = 0 for the prior, x, then z again."""
    z, message = prior(0).pop(message)
    x, message = likelihood(z).pop(message)
    y, message = label.pop(message)
    return x, y, posterior(x, y).push(message, z)


def _popped_again(message, label, prior, likelihood, posterior):
    y, message = label.pop(message)
    z, message = prior(y).pop(message)
    x, message = likelihood(z).pop(message)
    return x, y, posterior(x, y).pop(message)[1]


def _given_to_the_prior(message, label, prior, likelihood, posterior):
    y, message = label.pop(message)
    z, message = prior(y).pop(message)
    x, message = likelihood(z).pop(message)
    return x, y, prior(y).push(message, z)


LABELLED = Exercise(
    id="09.1",
    title="The decoder that came back wrong",
    cases=_labelled_cases,
    oracle=_pop_labelled,
    probe=_pop_all,
    misconceptions=[
        Misconception(
            "what was popped need not be pushed",
            _never_pushed,
            "the first image is right, but the message beneath is not: z was popped from it, and you never pushed it back. "
            "These are the bits back.",
        ),
        Misconception(
            "the decoder runs in the encoder's order",
            _in_the_encoders_order,
            "the label is on top, since it was pushed last, and the prior needs it: pop y first.",
        ),
        Misconception(
            "a decoder only pops",
            _popped_again,
            "x and y are right, but the last step pops once more. The encoder *popped* z with the posterior, so the decoder "
            "*pushes* it.",
        ),
        Misconception(
            "z goes back with the table it came from",
            _given_to_the_prior,
            "x and y are right, but you push z with the prior. The encoder took it off with the posterior, and that undoes only "
            "the posterior.",
        ),
    ],
    notice="reverse the order, and turn each pop into a push: that is all of decoding. And the label cost -log p(y), nothing more.",
)


# 09.3


def _takes(rng: np.random.Generator) -> list[tuple]:
    """An ordinary run; one whose deepest point comes late; one that never needs more than the first; one that only gives."""
    ordinary = (rng.uniform(150, 250, 20), rng.uniform(2000, 3000, 20))
    late = (np.array([100.0, 50.0, 900.0, 60.0]), np.array([120.0, 70.0, 950.0, 80.0]))
    deeper = (np.array([200.0, 240.0, 260.0, 250.0]), np.array([210.0, 180.0, 200.0, 190.0]))
    return [ordinary, late, deeper, (np.zeros(3), rng.uniform(1, 9, 3)), (rng.uniform(0, 9, 30), rng.uniform(0, 9, 30))]


def _needed(popped: np.ndarray, pushed: np.ndarray) -> float:
    height = lowest = 0.0
    for take, give in zip(popped.tolist(), pushed.tolist(), strict=True):
        height -= take
        lowest = min(lowest, height)
        height += give
    return -lowest


INITIAL = Exercise(
    id="09.3",
    title="How many bits to begin with?",
    cases=_takes,
    oracle=_needed,
    misconceptions=[
        Misconception(
            "the first image decides",
            lambda popped, pushed: popped[0],
            "yours is {yours} where {right} is right: the first image's take is enough while each image leaves more than the next "
            "one takes. In this run a later one goes deeper.",
        ),
        Misconception(
            "the hungriest image decides",
            lambda popped, pushed: np.max(popped),
            "yours is {yours} where {right} is right: by the time of the largest take, earlier images have changed the height of the "
            "stack. Follow it.",
        ),
        Misconception(
            "all takes add up",
            lambda popped, pushed: np.sum(popped),
            "yours is {yours} where {right} is right: bits that one image gives are there for the next to take. They need not be "
            "there before.",
        ),
        Misconception(
            "an image is one step",
            lambda popped, pushed: max(0.0, float(np.max(np.cumsum(popped - pushed)))),
            "yours is {yours} where {right} is right: you look at the stack after each image has also given. The low point is in "
            "between, right after the take.",
        ),
        Misconception(
            "each image stands alone",
            lambda popped, pushed: max(0.0, float(np.max(popped - pushed))),
            "yours is {yours} where {right} is right: you compare each image's take with its own gift. It takes *before* it gives, and "
            "from what the images before it have left.",
        ),
    ],
    notice="with thousands of bits given and hundreds taken, the first take decides: the initial bits of a lane are one image's z.",
)


def _storey_cases(rng: np.random.Generator) -> list[tuple]:
    cases = []
    for upper, lower, levels, images in ((2, 3, 5, 1), (3, 6, 9, 5), (5, 4, 12, 9)):
        tables = (
            _tables(rng, upper, 1)[0],
            _tables(rng, lower, upper),
            _tables(rng, levels, lower),
            _tables(rng, lower, levels),
            _tables(rng, upper, lower),
        )
        cases.append((to_bytes(_message(rng)), rng.integers(levels, size=images).tolist(), tables))
    return cases


def _push_run(function, data, symbols, tables):
    """The bytes of the message after all symbols, one function call each."""
    message = from_bytes(data)
    prior2, prior1, likelihood, posterior1, posterior2 = tables
    codecs = (
        table_codec(prior2),
        lambda z2: table_codec(prior1[z2]),
        lambda z1: table_codec(likelihood[z1]),
        lambda x: table_codec(posterior1[x]),
        lambda z1: table_codec(posterior2[z1]),
    )
    for x in symbols:
        message = function(message, x, *codecs)
    return to_bytes(message)


def _two_storeys(message, x, prior2, prior1, likelihood, posterior1, posterior2):
    """As bits back within bits back: the upper storey is a codec for z1."""

    def push_z1(message, z1):
        z2, message = posterior2(z1).pop(message)
        return prior2.push(prior1(z2).push(message, z1), z2)

    lower = Codec(push_z1, lambda message: (0, message))
    z1, message = posterior1(x).pop(message)
    return lower.push(likelihood(z1).push(message, x), z1)


def _both_first(message, x, prior2, prior1, likelihood, posterior1, posterior2):
    z1, message = posterior1(x).pop(message)
    z2, message = posterior2(z1).pop(message)
    message = likelihood(z1).push(message, x)
    message = prior1(z2).push(message, z1)
    return prior2.push(message, z2)


def _upper_first(message, x, prior2, prior1, likelihood, posterior1, posterior2):
    z1, message = posterior1(x).pop(message)
    message = likelihood(z1).push(message, x)
    z2, message = posterior2(z1).pop(message)
    message = prior2.push(message, z2)
    return prior1(z2).push(message, z1)


def _z1_from_the_prior(message, x, prior2, prior1, likelihood, posterior1, posterior2):
    z2, message = prior2.pop(message)
    z1, message = prior1(z2).pop(message)
    message = likelihood(z1).push(message, x)
    message = posterior2(z1).push(message, z2)
    return posterior1(x).push(message, z1)


def _no_refund_above(message, x, prior2, prior1, likelihood, posterior1, posterior2):
    z1, message = posterior1(x).pop(message)
    message = likelihood(z1).push(message, x)
    z2, _ = posterior2(z1).pop(message)
    message = prior1(z2).push(message, z1)
    return prior2.push(message, z2)


STOREYS = Exercise(
    id="09.4",
    title="Two latents",
    cases=_storey_cases,
    oracle=_two_storeys,
    probe=_push_run,
    misconceptions=[
        Misconception(
            "first all pops, then all pushes",
            _both_first,
            "this is a right code, and decodes; but it pops z2 before anything was pushed, so it needs initial bits for both latents. "
            "z2 depends on z1 alone: push x first.",
        ),
        Misconception(
            "the prior of z2 may be pushed below",
            _upper_first,
            "a decoder could not read this: z1 lies on top, and its table depends on z2, which lies beneath. Push z2 last.",
        ),
        Misconception(
            "pop with the priors",
            _z1_from_the_prior,
            "these are the decoder's tables: you draw the latents from the priors, which know nothing about x. Pop with the "
            "posteriors, push with the priors.",
        ),
        Misconception(
            "looking is popping",
            _no_refund_above,
            "the message did not become shorter when you drew z2: keep the message that `pop` returns, or the bits of that draw "
            "are paid twice.",
        ),
    ],
    notice="the first image now needs initial bits for z1 only; z2 lives on what x has just put there. With ten storeys that is the "
    "difference between a file and none.",
)


EXERCISES = [LABELLED, PREDICT, INITIAL, STOREYS]
