"""What all commands and programs have in common."""

from typing import Any

import click

from spoils.cli.start import guarded


class Command(click.Command):
    """A command whose mistakes end in a sentence and exit code 2; it returns its exit code, or None for 0."""

    ignore_unknown_options = True
    allow_extra_args = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse arguments that it does not know: most are settings, which the environment holds."""
        rest = super().parse_args(ctx, args)
        if ctx.args:
            ctx.fail(
                f"unrecognized arguments: {' '.join(ctx.args)}. Settings are environment variables, "
                "as in PORT=8010: see docs/settings.md"
            )
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run it and exit."""
        run = super().invoke
        ctx.exit(guarded(lambda: run(ctx) or 0))


class Group(click.Group):
    """A group of such commands."""

    command_class = Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for one that does not exist, name those that do."""
        if args[0] not in self.commands:
            ctx.fail(f'There is no command "{args[0]}". There are: {", ".join(sorted(self.commands))}.')
        return super().resolve_command(ctx, args)
