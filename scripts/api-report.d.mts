/** Reports of the public surface by file name, from the built declarations. @throws Error where nothing is built. */
export function apiReports(): ReadonlyMap<string, string>;
