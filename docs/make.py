"""Build the pages of the manual from their sources.

With the argument "--check" nothing is written; the exit status tells whether
the built pages are up to date.
"""

import html
import re
import sys
from json import dumps
from pathlib import Path
from string import Template
from typing import Dict, List, NamedTuple

from docutils import nodes
from docutils.core import publish_doctree, publish_from_doctree
from docutils.writers.html5_polyglot import Writer

FOLDER = Path(__file__).parent

SETTINGS = {
    "generator": False,
    "datestamp": False,
    "source_link": False,
    "toc_backlinks": False,
    "smart_quotes": False,
    "syntax_highlight": "short",
    "table_style": "colwidths-auto",
    "math_output": "MathML",
    "report_level": 2,
    "halt_level": 2,
    "output_encoding": "unicode",
    "_disable_config": True,
}

# The pages of the navigation, in groups. A page that a language does not have
# is shown in English.
GROUPS = {
    "start": ["index", "start"],
    "howto": [
        "howto/web-servers", "howto/flask", "howto/django", "howto/fastapi",
        "howto/crawler", "howto/lambda", "howto/passwords",
        "howto/pgbouncer", "howto/replicas", "howto/gone-away",
        "howto/leaks", "howto/metrics", "howto/sizing", "howto/testing"],
    "moving": [
        "howto/from-dbutils", "howto/from-sqlalchemy",
        "howto/from-psycopg-pool", "howto/from-psycopg2-pool",
        "howto/from-mysql-connector", "howto/from-oracledb",
        "howto/from-pymssql", "howto/from-hikaricp"],
    "reference": [
        "reference/modules", "reference/connecting", "reference/pooled-db",
        "reference/pool-methods", "reference/pool-state", "reference/explain",
        "reference/lifetimes", "reference/transactions",
        "reference/dynamic-pooled-db", "reference/health-check-pooled-db",
        "reference/resource-allocation-pooled-db",
        "reference/performance-optimized-pooled-db", "reference/steady-db",
        "reference/persistent-db", "reference/classic-pygresql",
        "reference/simple-pools", "reference/keyed-pool",
        "reference/pool-manager", "reference/connection-config",
        "reference/uri-pool", "reference/hosts", "reference/drivers",
        "reference/metrics", "reference/testing", "reference/command-line",
        "reference/parameters", "reference/types", "reference/frameworks",
        "reference/moving", "errors", "main", "changelog"],
    "explanation": [
        "explanation/repeated", "explanation/lending", "explanation/servers",
        "explanation/full", "explanation/size", "explanation/interrupts",
        "explanation/pitfalls", "explanation/performance"],
    "work": ["contributing", "contributing/house"],
}

TEXTS = {
    "en": {
        "name": "English", "start": "Start", "howto": "How to",
        "moving": "Coming from", "reference": "Reference",
        "explanation": "Explanation", "work": "For those who work on it",
        "contents": "Contents", "search": "Search", "none": "Nothing found",
        "copy": "Copy", "copied": "Copied", "before": "Before",
        "after": "Now", "other": "Other languages"},
    "de": {
        "name": "Deutsch", "start": "Einstieg", "howto": "Anleitungen",
        "moving": "Umsteigen von", "reference": "Referenz",
        "explanation": "Erklärungen", "work": "Für alle, die daran arbeiten",
        "contents": "Inhalt", "search": "Suchen", "none": "Nichts gefunden",
        "copy": "Kopieren", "copied": "Kopiert", "before": "Vorher",
        "after": "Jetzt", "other": "Andere Sprachen"},
    "zh": {
        "name": "中文", "start": "快速入门", "howto": "操作指南",
        "moving": "迁移", "reference": "参考手册",
        "explanation": "原理说明", "work": "参与开发",
        "contents": "目录", "search": "搜索", "none": "没有找到",
        "copy": "复制", "copied": "已复制", "before": "以前",
        "after": "现在", "other": "其他语言"},
}

# From how many characters on a name can be broken, and where: in texts, in
# headings, and in the narrow cells of tables.
SIGNS = r"(?<=\w[_.,=(\[/])(?=[\w(\[])|(?<=&#64;)"
LONG, LONG_IN_HEADING = (30, SIGNS), (24, SIGNS)
LONG_IN_CELL = (13, rf"{SIGNS}|(?<=[a-z])(?=[A-Z])")

# how deep the navigation goes into the present page
DEPTH = 2

# what HTML and docutils call the languages
CODES = {"en": ("en", "en"), "de": ("de", "de"), "zh": ("zh-CN", "zh-cn")}

FRAME = Template("""\
<!DOCTYPE html>
<html lang="$code" data-root="$root" data-index="search.$language.js">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<meta name="description" content="$description">
<link rel="stylesheet" href="${root}doc.css">
$alternates<script src="${root}doc.js" defer></script>
</head>
<body data-copy="$copy" data-copied="$copied">
<input type="checkbox" id="menu" aria-label="$contents">
<header>
<label for="menu" title="$contents">☰</label>
<a class="home" href="$home">DBUtils</a>
<div class="search" data-label="$search" data-none="$none"></div>
<nav class="languages" aria-label="$other">$languages</nav>
</header>
<nav class="pages" aria-label="$contents">
$navigation</nav>
<main id="$id">
<h1 class="title">$heading</h1>
$body</main>
</body>
</html>
""")


class Page(NamedTuple):
    """The place of a page: its name without a suffix, and its language."""

    name: str
    language: str

    @property
    def path(self):
        """Return the path in the folder of the manual, without a suffix."""
        return {
            "en": self.name, "de": f"{self.name}.de", "zh": f"zh/{self.name}",
        }[self.language]

    @property
    def source(self):
        """Return the file with the text."""
        return FOLDER / f"{self.path}.rst"

    @property
    def root(self):
        """Return the way from this page to the folder of the manual."""
        return "../" * self.path.count("/")

    def link_to(self, other, anchor=""):
        """Return the relative URL of another page."""
        return f"{self.root}{other.path}.html{anchor and '#' + anchor}"

    def versions(self):
        """Return this page in all languages that have it."""
        pages = [Page(self.name, language) for language in TEXTS]
        return [page for page in pages if page.source.exists()]

    def nearest(self, name):
        """Return another page in the language of this one, or in English."""
        page = Page(name, self.language)
        return page if page.source.exists() else Page(name, "en")


class Section(NamedTuple):
    """A section of a page: where it is, what is in it, what it explains."""

    anchor: str
    title: str
    depth: int
    words: List[str]
    names: List[str]


class Text(NamedTuple):
    """What was made of the source of a page."""

    title: str
    anchor: str
    description: str
    sections: List[Section]
    body: str


def all_pages():
    """Return all pages, in the order of the navigation."""
    return [
        page for language in TEXTS for names in GROUPS.values()
        for name in names for page in [Page(name, language)]
        if page.source.exists()]


def words_of(node):
    """Return the words of a section, without those of its sections."""
    text = " ".join(
        part.astext() for part in node.children
        if not isinstance(part, (nodes.section, nodes.title)))
    found = re.findall(r"\w+", text.lower())
    parts = [part for word in found for part in word.split("_")]
    return sorted({word for word in [*found, *parts] if word.strip("_")})


def names_of(node):
    """Return the names that a section explains, without its sections."""
    terms = [
        literal.astext() for part in node.children
        if not isinstance(part, nodes.section)
        for term in part.findall(nodes.term)
        for literal in term.findall(nodes.literal)]
    names = {
        name for term in terms
        for name in re.findall(r"\w+", term.lower().partition("(")[0])}
    return sorted(names)


def depth_of(node):
    """Return in how many sections a node is."""
    depth = 0
    while isinstance(node.parent, nodes.section):
        node, depth = node.parent, depth + 1
    return depth


def section_of(node):
    """Return a section of the page; a label of its own is its anchor."""
    return Section(
        node["ids"][-1], node.next_node(nodes.title).astext(),
        depth_of(node), words_of(node), names_of(node))


def description_of(document):
    """Return the first paragraph of a page."""
    first = next(
        paragraph for paragraph in document.findall(nodes.paragraph)
        if paragraph.parent in {document, *document.findall(nodes.section)})
    return " ".join(first.astext().split())


def join_pairs(document, texts):
    """Put code before a change and after it side by side."""
    for old in list(document.findall(nodes.literal_block)):
        if "before" not in old["classes"]:
            continue
        siblings = old.parent
        place = siblings.index(old)
        end = siblings.first_child_matching_class(
            nodes.literal_block, place + 1)
        new = siblings[end]
        pair = nodes.container(classes=["pair"])
        for block, name in (old, "before"), (new, "after"):
            block["classes"].remove(name)
            title = nodes.paragraph("", texts[name], classes=["side"])
            pair += nodes.container("", title, block.deepcopy())
        siblings[place:end + 1] = [pair]


def lead_to_pages(document):
    """Let links to the sources of pages lead to the pages."""
    for link in document.findall(nodes.reference):
        if "://" not in link.get("refuri", "://"):
            link["refuri"] = re.sub(
                r"\.rst(?=#|$)", ".html", link["refuri"])


def break_names(text, length, places):
    """Let long names continue on the next line, between two of their words."""
    return "".join(
        re.sub(places, "<wbr>", name)
        if len(html.unescape(name)) >= length else name
        for name in re.split(r"([\s<>]+)", text))


def break_literals(body, kind):
    """Let the long names in literals of HTML continue on the next line."""
    return re.sub(
        r'(?<=<span class="docutils literal">)[^<]+|(?<=<span>)[^<]+',
        lambda literal: break_names(literal[0], *kind), body)


def break_lines(body):
    """Let long names continue on the next line, sooner in tables.

    Short ones with a hyphen stay in one piece, and so do marks.
    """
    body = re.sub(
        rf'<span class="pre">(?=[^<]{{{LONG[0]}}})', "<span>", body)
    body = re.sub(r"\[DBU-\d+\]", r'<span class="pre">\g<0></span>', body)
    parts = re.split(r"(<table.*?</table>)", body, flags=re.DOTALL)
    return "".join(
        break_literals(part, LONG_IN_CELL if place % 2 else LONG)
        for place, part in enumerate(parts))


def heading_of(title):
    """Return a title as HTML whose long names can be broken."""
    return break_names(html.escape(title), *LONG_IN_HEADING)


def read(page):
    """Return what is made of the source of a page."""
    settings = {**SETTINGS, "language_code": CODES[page.language][1]}
    document = publish_doctree(
        page.source.read_text(encoding="utf-8"),
        source_path=f"{page.path}.rst", settings_overrides=settings)
    lead_to_pages(document)
    join_pairs(document, TEXTS[page.language])
    sections = [Section(
        "", document["title"], 0, words_of(document), names_of(document))]
    sections += map(section_of, document.findall(nodes.section))
    description = description_of(document)
    writer = Writer()
    publish_from_doctree(document, writer=writer, settings_overrides=settings)
    parts = writer.parts
    body = parts["docinfo"] + break_lines(parts["body"])
    return Text(
        document["title"], document["ids"][0], description, sections, body)


def list_of(links):
    """Return an HTML list."""
    items = "".join(f"<li>{link}</li>\n" for link in links)
    return f"<ul>\n{items}</ul>\n"


def contents_of(text):
    """Return the list of the sections of the present page."""
    shown = [part for part in text.sections[1:] if part.depth < DEPTH]
    return list_of(
        f'<a class="depth-{part.depth}" href="#{part.anchor}">'
        f"{html.escape(part.title)}</a>" for part in shown)


def link_to(page, other, texts):
    """Return a link of the navigation, with the sections of this page."""
    mark, sections = "", ""
    if other == page:
        mark, sections = ' aria-current="page"', contents_of(texts[page])
    title = heading_of(texts[other].title)
    return f'<a href="{page.link_to(other)}"{mark}>{title}</a>{sections}'


def navigation_of(page, texts):
    """Return the lists of all pages, and of the sections of this one."""
    found = []
    for group, names in GROUPS.items():
        links = []
        for name in names:
            other = page.nearest(name)
            if not other.source.exists():
                continue
            links.append(link_to(page, other, texts))
        found.append(f"<p>{TEXTS[page.language][group]}</p>\n{list_of(links)}")
    return "".join(found)


def languages_of(page):
    """Return the links to a page in other languages."""
    return " ".join(
        f'<a href="{page.link_to(other)}" lang="{CODES[other.language][0]}"'
        f' hreflang="{CODES[other.language][0]}">'
        f"{TEXTS[other.language]['name']}</a>"
        for other in page.versions() if other != page)


def alternates_of(page):
    """Return the links in the head to a page in other languages."""
    return "".join(
        f'<link rel="alternate" hreflang="{CODES[other.language][0]}"'
        f' href="{page.link_to(other)}">\n'
        for other in page.versions() if other != page)


def build(page, texts):
    """Return a page as HTML."""
    text = texts[page]
    ends = "" if "DBUtils" in text.title else " - DBUtils"
    return FRAME.substitute(
        {key: html.escape(value)
         for key, value in TEXTS[page.language].items()},
        code=CODES[page.language][0], language=page.language, root=page.root,
        title=html.escape(text.title + ends), id=text.anchor,
        heading=heading_of(text.title), body=text.body,
        description=html.escape(text.description),
        alternates=alternates_of(page), languages=languages_of(page),
        home=page.link_to(page.nearest("index")),
        navigation=navigation_of(page, texts))


def build_index(language, texts):
    """Return the index of the search, a line for each section."""
    lines = []
    for page, text in texts.items():
        if page.language != language:
            continue
        for part in text.sections:
            title = text.title + (f" - {part.title}" if part.anchor else "")
            link = Page("", "en").link_to(page, part.anchor)
            lines.append(dumps(
                [link, title, " ".join(part.words), " ".join(part.names)],
                ensure_ascii=False))
    return "var dbutilsIndex = [\n" + ",\n".join(lines) + "\n];\n"


def build_list(texts):
    """Return the list of the sources of all pages, for programs that read."""
    first = texts[Page("index", "en")]
    lines = [f"# {first.title}", "", f"> {first.description}"]
    for language, words in TEXTS.items():
        lines += ["", f"## {words['name']}", ""]
        lines += [
            f"- [{text.title}]({page.path}.rst): {text.description}"
            for page, text in texts.items() if page.language == language]
    return "\n".join(lines) + "\n"


def build_all() -> Dict[str, str]:
    """Return all that is built, by the paths of the files."""
    texts = {page: read(page) for page in all_pages()}
    return {
        **{f"{page.path}.html": build(page, texts) for page in texts},
        **{f"search.{language}.js": build_index(language, texts)
           for language in TEXTS},
        "llms.txt": build_list(texts),
    }


def strangers(built):
    """Return the pages that have no source, and sources without a page."""
    found = {
        str(path.relative_to(FOLDER).with_suffix(".html").as_posix())
        for kind in ("html", "rst") for path in FOLDER.rglob(f"*.{kind}")}
    return sorted(found - set(built))


def main(arguments):
    """Build or check all pages; return the exit status."""
    built = build_all()
    stale = strangers(built)
    for name, text in built.items():
        path = FOLDER / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if "--check" in arguments:
            stale.append(name)
        else:
            path.write_text(text, encoding="utf-8")
            print(f"built {name}")
    if stale:
        print(f"not up to date: {', '.join(stale)} (run docs/make.py)")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
