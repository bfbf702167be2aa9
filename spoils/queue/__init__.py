"""Every change of a task's state: one statement, one file. Nothing else writes `fang_tasks`."""
