"""Statements on a table of things, which go through the driver alone."""

from sqlalchemy import Integer, bindparam, cast, column, literal_column, select, table, text

from spoils.db.statements import Statement

PUT = Statement(table("things", column("name")).insert().values(name=bindparam("name")), "put", anywhere=True)
DIVIDE = Statement(select(literal_column("1") / cast(bindparam("by"), Integer)), "divide", anywhere=True)
COUNT = text("SELECT count(*) FROM things")
