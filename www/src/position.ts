/** How far apart cards are put where there is room. */
export const SPACING = 1024;

/**
 * A number between two neighbours' positions; undefined stands for an end of the column. Null where there is none: the
 * neighbours are equal (two clients chose the same gap), too close for a double, or one has no position.
 */
export function positionBetween(before: number | null | undefined, after: number | null | undefined): number | null {
  if (before === null || after === null) return null;
  if (before === undefined && after === undefined) return SPACING;
  if (before === undefined) return after! - SPACING;
  if (after === undefined) return before + SPACING;
  const middle = before + (after - before) / 2;
  return before < middle && middle < after ? middle : null;
}
