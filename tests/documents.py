"""The fenced blocks of a document, and the commands in its running text, in their order."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WALKED = ("README.md", "docs/guide.md", "docs/api.md")
"""The documents whose blocks a test runs, in the order in which a newcomer reads them."""

# A fence with the HTML comment above it, which GitHub does not show, or a command within a sentence.
_PIECE = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*) -->\n)?^```(?P<language>\w*)\n(?P<fenced>.*?)^```$"
    r"|`(?P<inline>(?:curl|SELECT) [^`\n]+)`",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """One block; `before` is the text between the block before it and this one."""

    document: str
    line: int
    language: str
    text: str
    note: str
    before: str
    inline: bool

    def __str__(self) -> str:
        return f"{self.document}, line {self.line}"

    @property
    def runs(self) -> bool:
        return not self.note.startswith("not run: ")


def blocks(document: str) -> list[Block]:
    """Every block of a document, by its path in the clone."""
    text = (ROOT / document).read_text()
    found, end = [], 0
    for piece in _PIECE.finditer(text):
        inline = piece["inline"]
        language = ("bash" if inline.startswith("curl") else "sql") if inline else piece["language"]
        found.append(
            Block(
                document,
                line=text.count("\n", 0, piece.start()) + 1,
                language=language,
                text=inline or piece["fenced"],
                note=piece["note"] or "",
                before=text[end : piece.start()],
                inline=bool(inline),
            )
        )
        end = piece.end()
    return found
