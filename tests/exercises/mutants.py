"""Wrong answers made by a machine.

`PYTHONPATH=tests/notebooks uv run python tests/exercises/mutants.py [NN.K ...]` lists those that a check takes.

A mutant is a worked solution with one small slip: another operator, base, rounding, axis, sign or bound, a factor or a
term left out, arguments swapped, a number one too large or too small. A check that takes one is right (the mutant
computes the same) or lacks a case. EQUIVALENT says which mutants are known to be right, and why.
"""

import ast
import copy
import dataclasses
import sys
import warnings
from collections.abc import Iterator

from misconceptions import all_exercises
from test_exercises import in_notebook, namespace

from vae_lib.exercises.engine import judge

OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div}
COMPARISONS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq}
TWINS = ["ceil floor", "floor rint", "rint floor", "round floor", "log2 log", "log log2", "mean sum", "sum mean"]
TWINS += ["max min", "min max", "maximum minimum", "minimum maximum", "argmin argmax", "argmax argmin", "std var"]
TWINS += ["exp exp2", "square abs", "sqrt square", "cumsum cumprod", "left right", "right left"]
CASTS = {
    "float",
    "int",
    "asarray",
    "array",
    "list",
    "tuple",
    "sorted",
    "stop_gradient",
}  # without effect on most values
EITHER = {"max", "min", "maximum", "minimum", "array_equal", "isclose"}  # whose arguments may be swapped
NAMES = dict(pair.split() for pair in TWINS)


# Mutants that are right: {exercise: {the line that differs: why}}.
EQUIVALENT: dict[str, dict[str, str]] = {
    "00.3": {
        "for quality in range(95, -1, -1):": "0 is what the last line returns, too",
        "for quality in range(95, 1, -1):": "so coarse, qualities 1 and 2 give the same file",
    },
    "02.3": {
        "standardised = (predicted - x) / 0.05": "it is squared",
        "log_q = gaussian_log_density(mean, z, log_std)": "a Gaussian knows only their distance",
        "predicted = jnp.exp(z[:, 0]) * jax.nn.sigmoid(z[:, 2])": "beyond the end JAX takes the last",
    },
    "03.2": {
        "d = jnp.abs(mean_p - mean_q)": "a distance",
    },
    "03.5": {
        "variance = jnp.mean(jnp.exp(2 * log_std) + (centre - mean) ** 2, axis=0)": "it is squared",
    },
    "04.3": {
        "return mean - jnp.exp(0.5 * log_var) * epsilon": "-epsilon has the same distribution",
    },
    "04.4": {
        "left = -(z_noisy - mean)": "the density is symmetric",
        "left = -jnp.abs(mean - z_noisy)": "a distance",
        "left = jnp.abs(z_noisy - mean)": "the density is symmetric",
        "return -jnp.sum(jnp.log2(upper - lower), axis=1)": "two axes",
    },
    "05.2": {
        "variance = jax.nn.softplus(jnp.maximum(raw, -14))": "about -15 both branches agree",
        "return 0.5 * jnp.where(raw < -14, raw, jnp.log(variance))": "about -15 both branches agree",
        "return 0.5 * jnp.where(raw < -16, raw, jnp.log(variance))": "about -15 both branches agree",
        "return 0.5 * jnp.where(raw <= -15, raw, jnp.log(variance))": "about -15 both branches agree",
        "variance = jax.nn.softplus(jnp.maximum(raw, -16))": "about -15 both branches agree",
    },
    "05.3": {
        "price = 0.5 * jnp.sum(jnp.log(mean_precision) - jnp.mean(jnp.log(precisions)))": "a sum of means is the mean of sums",
    },
    "06.1": {
        "mean_squared_error = np.mean((prediction - np.asarray(x_uint8, float)) ** 2)": "it is squared",
    },
    "06.3": {
        "on_the_left = left - np.log(2) + np.log(-np.expm1(np.minimum(lower - left, --0.999999999)))": "the other branch, or both, give the same there",
        "around = np.log(1 - 0.5 * np.exp(-np.maximum(upper, -1)) - 0.5 * np.exp(np.minimum(lower, 0)))": "the other branch, or both, give the same there",
        "return np.where(upper < 0, on_the_left, around)": "the other branch, or both, give the same there",
        "around = np.log(1 - 0.5 * np.exp(-np.maximum(upper, 0)) - 0.5 * np.exp(np.minimum(lower, 1)))": "the other branch, or both, give the same there",
        "on_the_left = left - np.log(2) + np.log(-np.expm1(np.minimum(lower - left, 1e-09)))": "the other branch, or both, give the same there",
        "left = np.minimum(upper, 1)": "the other branch, or both, give the same there",
        "mirror = lower + upper >= 0": "the other branch, or both, give the same there",
        "mirror = lower > 0": "the other branch, or both, give the same there",
        "mirror = upper > 0": "the other branch, or both, give the same there",
    },
    "08.3": {
        "kept.append(lowest < highest)": "a tie needs three models on one line",
    },
    "09.3": {
        "return max(-1.0, float(np.max(popped - before)))": "the first pop is never below 0",
    },
    "10.1": {
        "low, high = (-1.0, variances.max())": "the bisection ends within the tolerance",
        "if np.minimum(variances, level).sum() <= distortion:": "the bisection ends within the tolerance",
        "for _ in range(101):": "the bisection ends within the tolerance",
        "for _ in range(99):": "the bisection ends within the tolerance",
    },
    "11.3": {
        "return np.sum(np.log2(common) - np.mean(np.log2(std)))": "a sum of means is the mean of sums",
    },
    "11.4": {
        "padded = np.pad(pass_map, 1, constant_values=pass_map.max() + 0)": "beyond the edge any pass will do that is not earlier",
        "for dr in range(2):": "what is left out of np.empty holds what lay in memory: here, right answers",
        "for dc in range(2):": "what is left out of np.empty holds what lay in memory: here, right answers",
        "padded = np.pad(pass_map, 1, constant_values=pass_map.max() + 2)": "beyond the edge any pass will do that is not earlier",
        "padded = np.pad(pass_map, 1, constant_values=pass_map.max())": "beyond the edge any pass will do that is not earlier",
    },
    "12.5": {
        "for side, start, length in zip(size, window[:3], window[2:]):": "zip ends with the shortest",
    },
    "14.3": {
        "errors = ((codebook - x[:, None]) ** 2).sum(axis=-1)": "it is squared",
    },
}


def slips(node: ast.AST) -> Iterator[ast.AST]:
    """What a node becomes by one small slip."""
    match node:
        case ast.BinOp(left, op, right):
            if type(op) in OPERATORS:
                yield ast.BinOp(left, OPERATORS[type(op)](), right)
            if isinstance(op, (ast.Sub, ast.Div)):
                yield ast.BinOp(right, op, left)
            yield left
            yield right
        case ast.UnaryOp(ast.USub(), operand):
            yield operand
        case ast.Compare(left, [op], right) if type(op) in COMPARISONS:
            yield ast.Compare(left, [COMPARISONS[type(op)]()], right)
        case ast.Constant(bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(int() | float() as value) if abs(value) < 1000:  # of more, one is within the tolerance
            yield from (ast.Constant(value + 1), ast.Constant(value - 1))
        case ast.Attribute(value, name) if name in NAMES:
            yield ast.Attribute(value, NAMES[name], node.ctx)
        case ast.Call(function, [first, second, *rest], keywords) if ast.unparse(function).split(".")[-1] not in EITHER:
            yield ast.Call(function, [second, first, *rest], keywords)
        case ast.Call(function, [first], []) if ast.unparse(function).split(".")[-1] not in CASTS:
            yield first  # the function left out
    if isinstance(node, ast.Call):
        for k, keyword in enumerate(node.keywords):
            if keyword.arg in ("axis", "keepdims", "ddof"):
                yield ast.Call(node.func, node.args, [*node.keywords[:k], *node.keywords[k + 1 :]])


def mutants(source: str) -> Iterator[str]:
    """All solutions with one slip."""
    tree = ast.parse(source)
    for function in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
        for node in (below for statement in function.body for below in places(statement)):
            for other in slips(node):
                yield ast.unparse(ast.fix_missing_locations(copy.deepcopy(tree, {id(node): copy.deepcopy(other)})))


def places(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all beneath it, annotations apart."""
    yield node
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and name not in ("annotation", "returns"):
                yield from places(child)


def survivors(exercise) -> tuple[int, list[str]]:
    """How many mutants an exercise's solution has, and the lines of those that its check takes for correct."""
    notebook, entry = in_notebook(exercise.id)
    names = namespace(notebook, entry.solution)
    plain = ast.unparse(ast.parse(entry.solution)).splitlines()
    sources = sorted(set(mutants(entry.solution)) - {"\n".join(plain)})
    quick, taken = dataclasses.replace(exercise, seconds=20), []
    for source in sources:
        own = dict(names)
        try:
            exec(compile(source, "mutant", "exec"), own)
        except Exception:
            continue
        if judge(quick, own[entry.stub]).status == "correct":
            taken.append("; ".join(line.strip() for line in source.splitlines() if line not in plain))
    return len(sources), taken


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for one in all_exercises():
        if len(sys.argv) == 1 or one.id in sys.argv[1:] or one.id[:2] in sys.argv[1:]:
            count, lines = survivors(one)
            unknown = [line for line in lines if line not in EQUIVALENT.get(one.id, {})]
            print(f"{one.id} {count:4} mutants, {len(lines):3} taken, {len(unknown):3} unexplained", flush=True)
            for line in unknown:
                print(f"      {line}", flush=True)
