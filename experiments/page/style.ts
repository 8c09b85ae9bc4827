/** The page's style: light and dark, readable on a phone. */
export const STYLE = `
:root { color-scheme: light dark; --back: #fff; --text: #1c2128; --soft: #5a6472; --line: #d7dde5; --card: #f6f8fa; --link: #0b57a4; --good: #11734b; --bad: #a8320a; --frozen: #c9d6e6; --trained: #f2b66d; }
@media (prefers-color-scheme: dark) { :root { --back: #14181d; --text: #e4e8ee; --soft: #9aa5b4; --line: #323a45; --card: #1c222a; --link: #7fb7f0; --good: #5fcf9c; --bad: #f29c7a; --frozen: #33475f; --trained: #9c6420; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 16px/1.6 system-ui, sans-serif; }
main { max-width: 820px; margin: 0 auto; padding: 24px 16px 80px; }
h1 { font-size: 1.9em; line-height: 1.2; } h2 { margin-top: 2.2em; font-size: 1.4em; border-top: 1px solid var(--line); padding-top: 1em; } h3 { margin-top: 1.6em; font-size: 1.1em; }
a { color: var(--link); } nav { columns: 2; font-size: 0.95em; } @media (max-width: 500px) { nav { columns: 1; } }
.soft, figcaption, .section { color: var(--soft); font-size: 0.92em; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 0.88em; } th, td { text-align: left; padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.claim { border: 1px solid var(--line); border-left-width: 5px; background: var(--card); border-radius: 6px; padding: 10px 14px; margin: 12px 0; } .claim.held { border-left-color: var(--good); } .claim.not { border-left-color: var(--bad); } .claim b { display: inline-block; min-width: 9em; } .held b { color: var(--good); } .not b { color: var(--bad); }
figure { margin: 18px 0; } figure svg { max-width: 100%; height: auto; } details summary { cursor: pointer; color: var(--link); }
.frozen { fill: var(--frozen); } .trained { fill: var(--trained); } svg text { fill: currentColor; font: 13px system-ui, sans-serif; }
.sliders { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 12px 16px; } .sliders label { display: block; margin: 6px 0; } .sliders input[type=range] { width: min(320px, 70%); vertical-align: middle; } .sliders output { font-weight: 600; }
math { font-size: 1.1em; } code { font-size: 0.9em; overflow-wrap: anywhere; }
`;
