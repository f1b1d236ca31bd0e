"""Wrong answers made by a machine: `uv run python tests/exercises/mutants.py [NN.K ...]` lists what a check takes.

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
NAMES = dict(pair.split() for pair in TWINS)


EQUIVALENT: dict[str, dict[str, str]] = {}  # exercise: {line: why it is right}


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
        case ast.Call(function, [first, second, *rest], keywords):
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
