"""Mutants of a file: each is the file with one small change, in its Python or in the SQL of a string."""

import ast
import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn,
    ast.NotIn: ast.In, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.And: ast.Or, ast.Or: ast.And, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
}  # fmt: skip
NAMES = {"and_": "or_", "or_": "and_", "least": "greatest", "greatest": "least", "min": "max", "max": "min"}
LISTS = {"where", "and_", "or_", "order_by", "group_by", "coalesce", "least", "greatest", "min", "max"}
"""Calls of which each argument can be left out."""
CLAUSES = {"where", "order_by", "limit", "with_for_update", "desc", "distinct", "correlate"}
"""Calls on something that can stand without them."""
WORDS = {"label", "prefix_with", "render_derived", "info", "warning", "error", "removeprefix", "removesuffix"}
"""Calls whose arguments are text for people, or names."""
SQL = re.compile(r"\b(SELECT|UPDATE|DELETE|INSERT|WHERE|CASE|FROM)\b")
SQL_SWAPS = {
    " AND ": " OR ", " OR ": " AND ", " = ": " <> ", " <> ": " = ", " IS NULL": " IS NOT NULL",
    " IS NOT NULL": " IS NULL", "NOT EXISTS": "EXISTS", "LEFT JOIN": "JOIN", " + 1": " + 2", " < ": " <= ",
    " <= ": " < ", " > ": " >= ", "greatest(": "least(", "least(": "greatest(", " DESC": " ASC",
    "FOR UPDATE": "", "SKIP LOCKED": "", " IN (": " NOT IN (",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one file; `place` and `turn` find it again."""

    module: str
    place: int
    turn: int
    line: int
    before: str
    after: str

    @property
    def name(self) -> str:
        """What `--only` takes."""
        return f"{self.module}:{self.place}.{self.turn}"


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Every mutant of this source, in the order of its nodes."""
    tree = ast.parse(source)
    left_out = _left_out(tree)
    for place, node in enumerate(ast.walk(tree)):
        if id(node) not in left_out:
            for turn, changed in enumerate(_changes(node)):
                yield Mutant(
                    module, place, turn, getattr(node, "lineno", 0), ast.unparse(node), ast.unparse(changed)
                )


def mutated(source: str, mutant: Mutant) -> str:
    """The source with that change."""
    tree = ast.parse(source)
    node = next(node for place, node in enumerate(ast.walk(tree)) if place == mutant.place)
    swap = _Swap(node, list(_changes(node))[mutant.turn])
    return ast.unparse(ast.fix_missing_locations(swap.visit(tree)))


class _Swap(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old, self._new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self._new if node is self._old else self.generic_visit(node)


def _left_out(tree: ast.AST) -> set[int]:
    """Docstrings, annotations, and what is said to people."""
    roots: list[ast.AST] = []
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant()) | ast.JoinedStr() if not _is_sql(node):
                roots.append(node)
            case ast.AnnAssign(annotation=annotation):
                roots.append(annotation)
            case ast.FunctionDef(returns=returns, args=arguments):
                given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
                roots += [one for one in (returns, *(each.annotation for each in given)) if one]
            case ast.Call(func=function) if _name(function) in WORDS:
                roots += [*node.args, *node.keywords]
            case ast.Raise():
                roots.append(node)
    return {id(inner) for root in roots for inner in ast.walk(root)}


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in SWAPS:
            yield _with(node, ops=[SWAPS[type(operator)]()])
        case ast.BoolOp(op=operator) | ast.BinOp(op=operator) if type(operator) in SWAPS:
            yield _with(node, op=SWAPS[type(operator)]())
        case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=operand):
            yield operand
        case ast.If(test=test) | ast.IfExp(test=test):
            yield _with(node, test=ast.UnaryOp(ast.Not(), test))
        case ast.Expr(value=ast.Call()) | ast.AugAssign():
            yield ast.Pass()
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=str(value)) if SQL.search(value):
            yield from map(ast.Constant, _sql_changes(value))
        case ast.Call():
            yield from _call_changes(node)


def _call_changes(node: ast.Call) -> Iterator[ast.AST]:
    name = _name(node.func)
    if name in LISTS and len(node.args) > 1:
        for place in range(len(node.args)):
            yield _with(node, args=[*node.args[:place], *node.args[place + 1 :]])
    if name == "values":
        for place in range(len(node.keywords)):
            yield _with(node, keywords=[*node.keywords[:place], *node.keywords[place + 1 :]])
    if name in NAMES:
        called = node.func
        new = ast.Name(NAMES[name]) if isinstance(called, ast.Name) else _with(called, attr=NAMES[name])
        yield _with(node, func=new)
    if name in CLAUSES and isinstance(node.func, ast.Attribute):
        yield node.func.value


def _sql_changes(value: str) -> Iterator[str]:
    for old, new in SQL_SWAPS.items():
        for found in re.finditer(re.escape(old), value):
            yield value[: found.start()] + new + value[found.end() :]


def _is_sql(node: ast.AST) -> bool:
    texts = [inner.value for inner in ast.walk(node) if isinstance(inner, ast.Constant)]
    return isinstance(node, ast.JoinedStr) and any(
        SQL.search(text) for text in texts if isinstance(text, str)
    )


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _name(called: ast.expr) -> str:
    return getattr(called, "attr", None) or getattr(called, "id", "")
