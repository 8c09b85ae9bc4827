/** Dense row-major matrix in double precision. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly data: Float64Array;
}

/** Matrix over `data`, row-major. */
export function matrix(rows: number, columns: number, data: ArrayLike<number>): Matrix {
  return { rows, columns, data: Float64Array.from(data) };
}

/** a · b. */
export function product(a: Matrix, b: Matrix): Matrix {
  const data = new Float64Array(a.rows * b.columns);
  for (let i = 0; i < a.rows; i++)
    for (let k = 0; k < a.columns; k++) {
      const x = a.data[i * a.columns + k] as number;
      if (x === 0) continue;
      for (let j = 0; j < b.columns; j++)
        data[i * b.columns + j] =
          (data[i * b.columns + j] as number) + x * (b.data[k * b.columns + j] as number);
    }
  return { rows: a.rows, columns: b.columns, data };
}

/** aᵀ. */
export function transposedMatrix(a: Matrix): Matrix {
  const data = new Float64Array(a.data.length);
  for (let i = 0; i < a.rows; i++)
    for (let j = 0; j < a.columns; j++) data[j * a.rows + i] = a.data[i * a.columns + j] as number;
  return { rows: a.columns, columns: a.rows, data };
}

/** Thin QR of a tall matrix [m, n], m ≥ n: a = q · r with q [m, n] orthonormal columns and r [n, n] upper triangular.
 *  Gram-Schmidt done twice (Giraud et al. 2005: as orthogonal as Householder's); a column that depends on those before it
 *  gets a zero column in q. */
export function thinQr(a: Matrix): { readonly q: Matrix; readonly r: Matrix } {
  const { rows: m, columns: n } = a;
  const columns = transposedMatrix(a).data; // one column after the other
  const r = new Float64Array(n * n);
  const column = (j: number): Float64Array => columns.subarray(j * m, (j + 1) * m);
  for (let j = 0; j < n; j++) {
    const v = column(j);
    const before = norm(v);
    for (let pass = 0; pass < 2; pass++)
      for (let i = 0; i < j; i++) {
        const q = column(i);
        const c = dot(q, v);
        r[i * n + j] = (r[i * n + j] as number) + c;
        for (let k = 0; k < m; k++) v[k] = (v[k] as number) - c * (q[k] as number);
      }
    const length = norm(v);
    const isDependent = length <= 1e-13 * before;
    r[j * n + j] = isDependent ? 0 : length;
    for (let k = 0; k < m; k++) v[k] = isDependent ? 0 : (v[k] as number) / length;
  }
  return { q: transposedMatrix({ rows: n, columns: m, data: columns }), r: { rows: n, columns: n, data: r } };
}

/** Singular value decomposition a = u · diag(s) · vᵀ. */
export interface Svd {
  /** [m, k] */
  readonly u: Matrix;
  /** Descending. */
  readonly s: Float64Array;
  /** [n, k] */
  readonly v: Matrix;
}

/** SVD by one-sided Jacobi rotations (Demmel & Veselić 1992): k = min(m, n) singular values to high relative accuracy. Meant
 *  for small matrices: work grows with m·n². */
export function svd(a: Matrix): Svd {
  if (a.rows < a.columns) {
    const { u, s, v } = svd(transposedMatrix(a));
    return { u: v, s, v: u };
  }
  const { rows: m, columns: n } = a;
  const w = transposedMatrix(a).data; // columns of a, to become u·diag(s)
  const v = new Float64Array(n * n);
  for (let i = 0; i < n; i++) v[i * n + i] = 1; // rows of v are its columns
  const rotate = (x: Float64Array, p: number, q: number, size: number, c: number, s: number): void => {
    for (let k = 0; k < size; k++) {
      const [xp, xq] = [x[p * size + k] as number, x[q * size + k] as number];
      x[p * size + k] = c * xp - s * xq;
      x[q * size + k] = s * xp + c * xq;
    }
  };
  for (let sweep = 0; sweep < 60; sweep++) {
    let isDiagonal = true;
    for (let p = 0; p < n - 1; p++)
      for (let q = p + 1; q < n; q++) {
        const [wp, wq] = [w.subarray(p * m, (p + 1) * m), w.subarray(q * m, (q + 1) * m)];
        const [alpha, beta, gamma] = [dot(wp, wp), dot(wq, wq), dot(wp, wq)];
        if (Math.abs(gamma) <= 1e-15 * Math.sqrt(alpha * beta)) continue;
        isDiagonal = false;
        const zeta = (beta - alpha) / (2 * gamma);
        const t = (zeta >= 0 ? 1 : -1) / (Math.abs(zeta) + Math.hypot(1, zeta));
        const c = 1 / Math.hypot(1, t);
        rotate(w, p, q, m, c, c * t);
        rotate(v, p, q, n, c, c * t);
      }
    if (isDiagonal) break;
  }
  return sorted(w, v, m, n);
}

function sorted(w: Float64Array, v: Float64Array, m: number, n: number): Svd {
  const lengths = Array.from({ length: n }, (_, j) => norm(w.subarray(j * m, (j + 1) * m)));
  const order = lengths.map((_, j) => j).sort((i, j) => (lengths[j] as number) - (lengths[i] as number));
  const u = new Float64Array(m * n);
  const sortedV = new Float64Array(n * n);
  order.forEach((from, to) => {
    const length = lengths[from] as number;
    for (let k = 0; k < m; k++) u[k * n + to] = length === 0 ? 0 : (w[from * m + k] as number) / length;
    for (let k = 0; k < n; k++) sortedV[k * n + to] = v[from * n + k] as number;
  });
  return {
    u: { rows: m, columns: n, data: u },
    s: Float64Array.from(order, (j) => lengths[j] as number),
    v: { rows: n, columns: n, data: sortedV },
  };
}

/** SVD of b · a from its factors, b [out, R] and a [R, in], without forming the product: QR of both, then the SVD of an
 *  R × R matrix. */
export function svdOfProduct(b: Matrix, a: Matrix): Svd {
  const left = thinQr(b);
  const right = thinQr(transposedMatrix(a));
  const core = svd(product(left.r, transposedMatrix(right.r)));
  return { u: product(left.q, core.u), s: core.s, v: product(right.q, core.v) };
}

/** Σ x·y. */
export function dot(x: Float64Array | Float32Array, y: Float64Array | Float32Array): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += (x[i] as number) * (y[i] as number);
  return sum;
}

/** √Σ x². Of a matrix its Frobenius norm. */
export function norm(x: Float64Array | Float32Array): number {
  return Math.sqrt(dot(x, x));
}
