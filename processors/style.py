"""The look of the status page, and the headers under which a browser loads nothing but it."""

from base64 import b64encode
from hashlib import sha256
from textwrap import dedent

SHEET = dedent(
    """
    :root { color-scheme: light dark; --ink: #17202c; --dim: #5b6675; --paper: #f4f6f8; --card: #fff; --line: #dde2e8;
      --ok: #15803d; --info: #1d5fa8; --warning: #92600a; --critical: #c02626; --spark: #2f7fd0; --soft: #2f7fd01f; }
    @media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --dim: #98a4b3; --paper: #0f141a; --card: #18202a;
      --line: #2b3542; --ok: #4cc38a; --info: #74b3f2; --warning: #e2b340; --critical: #ff7b72; --spark: #6cb2f5; --soft: #6cb2f526; } }
    * { box-sizing: border-box; }
    body { margin: 0 auto; padding: 1.5rem 1.25rem 2rem; max-width: 72rem; background: var(--paper); color: var(--ink);
      font: 15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; -webkit-text-size-adjust: 100%; }
    a { color: var(--info); }
    header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 1rem; }
    h1 { margin: 0; font-size: 1.3rem; letter-spacing: -.01em; }
    h1 svg { width: 1.15em; height: 1.15em; vertical-align: -.2em; margin-right: .4em; }
    h2 { margin: 1.5rem 0 0; font-size: 1.15rem; } h3 { margin: 1.5rem 0 .5rem; font-size: .8rem; font-weight: 600;
      letter-spacing: .06em; text-transform: uppercase; color: var(--dim); }
    p { margin: .25rem 0; } .dim, small { color: var(--dim); }
    .states { display: flex; flex-wrap: wrap; gap: .4rem; margin: .6rem 0 0; padding: 0; list-style: none; }
    .states li { padding: .1rem .65rem; border: 1px solid var(--line); border-radius: 99px; background: var(--card); font-size: .85rem; }
    .cards { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); }
    details { margin-top: .6rem; font-size: .85rem; color: var(--dim); } summary { cursor: pointer; }
    details .cards { margin-top: .6rem; color: var(--ink); } .cards + details { margin-top: .75rem; }
    .card { display: flex; flex-direction: column; padding: .8rem 1rem .7rem; background: var(--card); border: 1px solid var(--line);
      border-left: 4px solid var(--line); border-radius: 8px; overflow: hidden; }
    .card h4 { display: flex; justify-content: space-between; gap: .75rem; margin: 0; font-size: .92rem; font-weight: 500;
      line-height: 1.35; }
    .card .figure { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 .5rem; }
    .card b { font-size: 1.65rem; line-height: 1.45; font-weight: 600; font-variant-numeric: tabular-nums; letter-spacing: -.02em; }
    .card ul { margin: auto 0 0; padding: .35rem 0 0; list-style: none; font-size: .82rem; color: var(--dim); }
    .card ul li { line-height: 1.45; font-variant-numeric: tabular-nums; }
    .card.ok { border-left-color: var(--ok); } .card.info { border-left-color: var(--info); }
    .card.warning { border-left-color: var(--warning); } .card.critical { border-left-color: var(--critical); }
    .tag { white-space: nowrap; font-size: .82rem; font-weight: 400; color: var(--dim); } .tag.ok { color: var(--ok); }
    .tag.info { color: var(--info); } .tag.warning { color: var(--warning); font-weight: 600; }
    .tag.critical { color: var(--critical); font-weight: 600; }
    .spark { display: block; width: 100%; height: 40px; margin: .1rem 0; } .spark path { fill: none; vector-effect: non-scaling-stroke; }
    .spark .line { stroke: var(--spark); stroke-width: 1.6; stroke-linejoin: round; } .spark .area { fill: var(--soft); }
    .spark .end { stroke: var(--spark); stroke-width: 6; stroke-linecap: round; }
    .spark .level { stroke-width: 1; stroke-dasharray: 5 4; } .spark .info { stroke: var(--info); }
    .spark .warning { stroke: var(--warning); } .spark .critical { stroke: var(--critical); }
    .sides { display: grid; gap: 0 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
    .wide { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
    table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
    th, td { padding: .4rem 1rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
    th:first-child, td:first-child { text-align: left; } tr:last-child td { border-bottom: 0; }
    th { font-weight: 600; color: var(--dim); font-size: .82rem; }
    .bar { display: block; width: 100%; min-width: 5rem; height: .5rem; }
    .bar rect { fill: var(--line); } .bar .part { fill: var(--spark); }
    .alarm { padding: .8rem 1rem; border: 1px solid var(--critical); border-radius: 8px; color: var(--critical); background: var(--card); }
    footer { margin-top: 2rem; font-size: .85rem; }
    @media (max-width: 30rem) { body { padding: 1rem .8rem 1.5rem; } th, td { padding: .35rem .7rem; } table { font-size: .88rem; } }
    """
).strip()

ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="4" fill="#2f7fd0"/>'
    '<path d="M2 9h3l2-5 2.5 8L11 9h3" fill="none" stroke="#fff" stroke-width="1.6" stroke-linejoin="round" stroke-linecap="round"/></svg>'
)
ICON_LINK = f'<link rel="icon" href="data:image/svg+xml;base64,{b64encode(ICON.encode()).decode()}">'

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{b64encode(sha256(SHEET.encode()).digest()).decode()}'; img-src data:;"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""The page's own sheet by its hash and the icon in the page; no script, no font, no frame, nothing from elsewhere."""
