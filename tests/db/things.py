"""Statements on a table of things, which go through the driver alone."""

from sqlalchemy import Integer, bindparam, cast, column, literal_column, select, table, text

from spoils.db.compiled import Compiled

PUT = Compiled(table("things", column("name")).insert().values(name=bindparam("name")), "put", anywhere=True)
DIVIDE = Compiled(select(literal_column("1") / cast(bindparam("by"), Integer)), "divide", anywhere=True)
COUNT = text("SELECT count(*) FROM things")
