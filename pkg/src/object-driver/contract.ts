// What an ObjectQL engine hands to a driver and takes from it, as far as this one looks at it. Written down here because the package
// whose types these are would otherwise have to be installed by everybody; a test compares them with it.

/** A record as a driver gives and takes it. */
export type DriverRecord = Record<string, unknown>;

/** What is asked for. What this driver does not know is refused, but for `object` and `expand`, which are the engine's own. */
export interface DriverQuery {
  object?: string | undefined;
  where?: unknown;
  fields?: readonly unknown[] | undefined;
  search?: unknown;
  searchFields?: readonly string[] | undefined;
  orderBy?: readonly unknown[] | undefined;
  limit?: number | undefined;
  offset?: number | undefined;
  top?: number | undefined;
  groupBy?: readonly unknown[] | undefined;
  aggregations?: readonly AggregationPart[] | undefined;
  having?: unknown;
  expand?: unknown;
}

/** One of a query's aggregations. */
export interface AggregationPart {
  function: string;
  field?: string | undefined;
  alias: string;
  filter?: unknown;
}

/** What goes with a call. Engines put more into it, which is not looked at. */
export interface CallOptions {
  /** What `beginTransaction` resolved with. */
  transaction?: unknown;
  tenantId?: string | undefined;
  tenantIds?: readonly string[] | undefined;
}

/** An object as an engine defines it. */
export interface ObjectSchema {
  name?: string;
  fields?: { readonly [name: string]: FieldSchema } | undefined;
  indexes?: readonly { readonly name?: string; readonly fields?: readonly unknown[]; readonly unique?: unknown }[] | undefined;
  tenancy?: { readonly enabled?: boolean } | undefined;
}

/** A field as an engine defines it. */
export interface FieldSchema {
  type?: string;
  required?: unknown;
  unique?: unknown;
  multiple?: unknown;
  options?: readonly unknown[] | undefined;
  reference?: unknown;
  /** The older name of `reference`. */
  reference_to?: unknown;
}
