"""From the plotting library's SVG file to SVG that may stand inside a page without inline style.

The page's content security policy forbids style attributes and style elements, so declarations
become presentation attributes; fonts are the page's own; identifiers get a prefix, since several
charts share one page; metadata goes.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"

# Attributes of SVG for which the style declaration of the same name may be exchanged.
_PRESENTATION = frozenset(
    {
        "fill",
        "fill-opacity",
        "fill-rule",
        "opacity",
        "stroke",
        "stroke-dasharray",
        "stroke-dashoffset",
        "stroke-linecap",
        "stroke-linejoin",
        "stroke-miterlimit",
        "stroke-opacity",
        "stroke-width",
        "text-anchor",
        "font-size",
        "font-weight",
    }
)
_FONT = re.compile(r"(?:(bold|[1-9]00)\s+)?([0-9.]+)px\b")
_LONG_DECIMAL = re.compile(r"-?\d+\.\d{3,}")
_DROPPED = ("metadata", "style", "title", "desc")


def inline(document: str, prefix: str, title: str, description: str) -> str:
    """Return an SVG document as an element for a page, named by `title` and `description`.

    `prefix` makes identifiers unique in the page; it is a plain identifier of the caller's.
    """
    root = ET.fromstring(document)
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in _DROPPED:
                parent.remove(child)
    for element in root.iter():
        _rewrite(element, prefix)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib.update(
        {
            "class": "chart",
            "role": "img",
            "aria-labelledby": f"{prefix}-title {prefix}-desc",
            "stroke-linejoin": "round",
        }
    )
    head = [ET.Element("title", {"id": f"{prefix}-title"})]
    head.append(ET.Element("desc", {"id": f"{prefix}-desc"}))
    head[0].text, head[1].text = title, description
    root[:0] = head
    return ET.tostring(root, encoding="unicode", short_empty_elements=True)


def _local(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]


def _rewrite(element: ET.Element, prefix: str) -> None:
    element.tag = _local(element.tag)
    attributes: dict[str, str] = {}
    for name, value in element.attrib.items():
        if name == "style":
            attributes.update(_declarations(value))
        elif name == f"{{{_XLINK}}}href":
            attributes["href"] = value
        elif not name.startswith("{"):
            attributes[name] = value
    for name, value in list(attributes.items()):
        if name == "id":
            attributes[name] = f"{prefix}-{value}"
        elif name == "href":
            attributes[name] = f"#{prefix}-{value.removeprefix('#')}"
        else:
            value = " ".join(value.split()).replace("url(#", f"url(#{prefix}-")
            attributes[name] = _LONG_DECIMAL.sub(_two_decimals, value)
    # Groups are named by the library for its own use; only what is referred to needs a name.
    if element.tag in ("g", "svg") and not element.get("clip-path"):
        attributes.pop("id", None)
    element.attrib.clear()
    element.attrib.update(attributes)
    if element.tag != "text" and element.text is not None and not element.text.strip():
        element.text = None
    if element.tail is not None and not element.tail.strip():
        element.tail = None


def _declarations(style: str) -> dict[str, str]:
    out: dict[str, str] = {}
    for declaration in style.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name == "font":
            match = _FONT.search(value)
            if match:
                out["font-size"] = match.group(2)
                if match.group(1):
                    out["font-weight"] = match.group(1)
        elif name == "font-size":
            out[name] = value.removesuffix("px")
        elif name in _PRESENTATION:
            out[name] = value
    return out


def _two_decimals(match: re.Match[str]) -> str:
    return f"{float(match.group()):.2f}".rstrip("0").rstrip(".") or "0"
