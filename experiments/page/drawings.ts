import { escapeHtml } from "./html.ts";

/** W₀ beside B·A with the sizes of a matrix of the model. */
export function updateDrawing(name: string, outSize: number, inSize: number, rank: number): string {
  const scale = 150 / Math.max(outSize, inSize);
  const [h, w, r] = [outSize * scale, inSize * scale, Math.max(10, rank * scale)];
  const bx = w + 120;
  return `<svg viewBox="0 0 ${Math.round(bx + r + w + 60)} ${Math.round(h + 60)}" role="img" aria-label="W0 of ${escapeHtml(name)}, frozen, plus B times A, trained" width="${Math.round(bx + r + w + 60)}">
<rect class="frozen" x="20" y="20" width="${w}" height="${h}"/><text x="${20 + w / 2}" y="${20 + h / 2}" text-anchor="middle">W₀, frozen</text><text x="${20 + w / 2}" y="${h + 40}" text-anchor="middle">${outSize} × ${inSize}</text>
<text x="${w + 60}" y="${20 + h / 2}" text-anchor="middle" style="font-size:22px">+</text>
<rect class="trained" x="${bx}" y="20" width="${r}" height="${h}"/><text x="${bx + r / 2}" y="14" text-anchor="middle">B</text><text x="${bx + r / 2}" y="${h + 40}" text-anchor="middle">${outSize} × ${rank}</text>
<rect class="trained" x="${bx + r + 30}" y="20" width="${w}" height="${r}"/><text x="${bx + r + 30 + w / 2}" y="14" text-anchor="middle">A</text><text x="${bx + r + 30 + w / 2}" y="${r + 40}" text-anchor="middle">${rank} × ${inSize}</text>
</svg>`;
}

/** A matrix of a layer, as it is drawn. */
export interface LayerBox {
  readonly name: string;
  readonly outSize: number;
  readonly inSize: number;
}

/** A layer of the model with what LoRA trains in it. */
export function layerDrawing(boxes: readonly LayerBox[], adapted: readonly string[], rank: number): string {
  const rows = boxes.map(({ name, outSize, inSize }, i) => {
    const y = 10 + i * 34;
    const is = adapted.includes(name);
    const added = is
      ? `<rect class="trained" x="330" y="${y}" width="150" height="26" rx="4"/><text x="405" y="${y + 18}" text-anchor="middle">+ ${(rank * (outSize + inSize)).toLocaleString("en")}</text>`
      : "";
    return `<rect class="frozen" x="10" y="${y}" width="310" height="26" rx="4"/><text x="20" y="${y + 18}">${escapeHtml(name)}</text><text x="312" y="${y + 18}" text-anchor="end">${outSize} × ${inSize} = ${(outSize * inSize).toLocaleString("en")}</text>${added}`;
  });
  return `<svg viewBox="0 0 490 ${20 + boxes.length * 34}" width="490" role="img" aria-label="the matrices of one layer: frozen numbers, and those that LoRA trains">${rows.join("")}</svg>`;
}
