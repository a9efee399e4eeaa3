"""Draw the pictures of the manual from their descriptions.

With the argument "--check" nothing is drawn, but it is told whether the
pictures are up to date.  Each one contains a mark of what it was drawn from.
"""

import hashlib
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "pictures.txt"

# In points; everything is drawn larger first, so that lines are smooth.
CELL, LARGER, SHARP = 60, 3, 2
FONT_SIZE, SMALL = 22, 19
PAPER, INK, FRAME = "#ffffff", "#1d2733", "#5c6166"
FILLING, EDGE, ACCENT = "#e8f0fa", "#3b6ea5", "#33628f"


def read(text):
    """Return the descriptions of the pictures, by their names."""
    pictures = {}
    lines = []
    for line in text.splitlines():
        words = line.split()
        if not words or words[0] == "#" or line.startswith("#"):
            continue
        if words[0] == "picture":
            lines = pictures[words[1]] = []
        lines.append(words)
    return pictures


def mark_of(lines):
    """Return what tells from what a picture was drawn."""
    script = Path(__file__).read_text(encoding="utf-8")
    text = f"{lines}{script}"
    return hashlib.sha256(text.encode()).hexdigest()


class Drawing:
    """A picture that is being drawn."""

    def __init__(self, width, height):
        from PIL import Image, ImageDraw, ImageFont

        self.image = Image.new(
            "RGB", (self.at(width), self.at(height)), PAPER)
        self.pen = ImageDraw.Draw(self.image)
        self.font = ImageFont.load_default(FONT_SIZE * LARGER)
        self.small = ImageFont.load_default(SMALL * LARGER)
        self.boxes = {}
        self.labels = []

    @staticmethod
    def at(cells):
        return round(float(cells) * CELL * LARGER)

    def text(self, x, y, text, font, color=INK, anchor="mm"):
        self.pen.text((x, y), text, color, font, anchor)

    def draw_box(self, name, x, y, width, *words):
        left, top = self.at(x), self.at(y)
        right, bottom = left + self.at(width), top + self.at(1)
        self.boxes[name] = left, top, right, bottom
        self.pen.rounded_rectangle(
            self.boxes[name], 9 * LARGER, FILLING, EDGE, 2 * LARGER)
        text = " ".join(words)
        if self.pen.textlength(text, self.font) > right - left:
            raise ValueError(f"{text!r} is too long for its box.")
        self.text((left + right) / 2, (top + bottom) / 2, text, self.font)

    def draw_group(self, x, y, width, height, *words):
        left, top = self.at(x), self.at(y)
        right, bottom = left + self.at(width), top + self.at(height)
        self.pen.rounded_rectangle(
            (left, top, right, bottom), 12 * LARGER, None, FRAME, LARGER)
        self.labels.append((
            left + 14 * LARGER, top, " ".join(words), self.small, FRAME, "lm"))

    def draw_arrow(self, start, end, *words):
        begin, finish = self.ends(self.boxes[start], self.boxes[end])
        self.pen.line((*begin, *finish), ACCENT, 2 * LARGER)
        self.draw_tip(begin, finish)
        middle = [(a + b) / 2 for a, b in zip(begin, finish)]
        if words:
            self.labels.append((
                *middle, " ".join(words), self.small, ACCENT, "mm"))

    @staticmethod
    def ends(first, second):
        """Return where an arrow leaves one box, and meets the other one."""
        middles = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
                   for box in (first, second)]
        if first[3] < second[1]:  # downwards
            return (middles[0][0], first[3]), (middles[1][0], second[1])
        if second[3] < first[1]:
            return (middles[0][0], first[1]), (middles[1][0], second[3])
        if first[2] < second[0]:  # to the right
            return (first[2], middles[0][1]), (second[0], middles[1][1])
        return (first[0], middles[0][1]), (second[2], middles[1][1])

    def draw_tip(self, begin, finish):
        dx, dy = (b - a for a, b in zip(begin, finish))
        length = (dx * dx + dy * dy) ** 0.5
        dx, dy = dx / length * 10 * LARGER, dy / length * 10 * LARGER
        x, y = finish
        self.pen.polygon(
            [(x, y), (x - dx - dy / 2, y - dy + dx / 2),
             (x - dx + dy / 2, y - dy - dx / 2)], ACCENT)

    def finish(self):
        """Write the texts on top of all lines, and return the picture."""
        for x, y, text, font, color, anchor in self.labels:
            area = self.pen.textbbox((x, y), text, font, anchor)
            gap = 4 * LARGER
            self.pen.rectangle(
                (area[0] - gap, area[1] - gap, area[2] + gap, area[3] + gap),
                PAPER)
            self.text(x, y, text, font, color, anchor)
        size = [side * SHARP // LARGER for side in self.image.size]
        return self.image.resize(size, 1)


def draw(lines):
    """Return a picture."""
    drawing = Drawing(*lines[0][2:])
    for verb, *words in lines[1:]:
        getattr(drawing, f"draw_{verb}")(*words)
    return drawing.finish()


def is_up_to_date(path, mark):
    """Tell whether a picture was drawn from what is there now."""
    return path.exists() and mark.encode() in path.read_bytes()


def save(image, path, mark):
    """Write a picture with a mark, in few colors."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("source", mark)
    image.quantize(32, dither=0).save(path, optimize=True, pnginfo=info)


def main(arguments):
    """Draw or check all pictures; return the exit status."""
    stale = []
    for name, lines in read(SOURCE.read_text(encoding="utf-8")).items():
        path, mark = FOLDER / f"{name}.png", mark_of(lines)
        if is_up_to_date(path, mark):
            continue
        if "--check" in arguments:
            stale.append(path.name)
        else:
            save(draw(lines), path, mark)
            print(f"drew {path.name}")
    if stale:
        print(f"not up to date: {', '.join(stale)} (run docs/pictures.py)")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
