/** The files of a source folder, sorted. */
export function sourceFiles(source: string): string[];
/** Relative imports of a file, as absolute paths. */
export function importsOf(path: string): string[];
/** Imports between the rooms of a source folder. */
export function importsBetweenRooms(source: string): {
  rooms: string[];
  imports: { from: string; to: string; count: number }[];
};
