"""Right answers to the exercises of notebook 09 that look nothing like the solutions there."""

import numpy as np


def predicted_by_log2_of_e(nats, lanes, initial_bits, header_bytes):
    return np.dot(nats, np.full(len(nats), np.log2(np.e))) / 8 + lanes * initial_bits / 8 + header_bytes


def pop_labelled_by_a_list_of_steps(message, label, prior, likelihood, posterior):
    found = []
    for codec in (lambda: label, lambda: prior(found[0]), lambda: likelihood(found[1])):
        symbol, message = codec().pop(message)
        found.append(symbol)
    y, z, x = found
    return [x, y, posterior(x, y).push(message, z)]


def needed_by_trying(popped, pushed):
    """The height of the stack at each event; the need is how far below zero it goes."""
    events = np.stack([-popped, pushed], axis=1).ravel()
    return -np.minimum(np.cumsum(events), 0).min()


def needed_from_behind(popped, pushed):
    """What the rest of the run needs, from the last image to the first."""
    need = 0.0
    for take, give in zip(popped[::-1], pushed[::-1], strict=True):
        need = take + max(0.0, need - give)
    return need


def two_storeys_by_a_list_of_steps(message, x, prior2, prior1, likelihood, posterior1, posterior2):
    z1, message = posterior1(x).pop(message)
    z2, message = posterior2(z1).pop(likelihood(z1).push(message, x))
    for codec, symbol in ((prior1(z2), z1), (prior2, z2)):
        message = codec.push(message, symbol)
    return message


ALSO_RIGHT = {
    "09.2": [predicted_by_log2_of_e],
    "09.1": [pop_labelled_by_a_list_of_steps],
    "09.3": [needed_by_trying, needed_from_behind],
    "09.4": [two_storeys_by_a_list_of_steps],
}
