import { errorWithCode, type ErrorCode, type ObjectqlError, QueryError, StateError, toObjectqlError } from '../errors.js';

/** The HTTP status that an engine answers with; the other codes are failures of this end and have none. */
const STATUSES: { readonly [Code in ErrorCode]?: number } = {
  INVALID_VALUE: 400,
  VALUE_TOO_DEEP: 400,
  VALUE_TOO_LARGE: 400,
  INVALID_ID: 400,
  INVALID_NAME: 400,
  INVALID_DEFINITION: 400,
  INVALID_OPTIONS: 400,
  INVALID_QUERY: 400,
  READ_ONLY_OBJECT: 403,
  UNKNOWN_OBJECT: 404,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  UNIQUE_VIOLATION: 409,
  TRANSACTION_CONFLICT: 409,
  TRANSACTION_ENDED: 409,
  QUOTA_EXCEEDED: 507,
  STORAGE_FAILED: 503,
};

/**
 * A filter that is refused. It has the code that engines and other drivers have for it; `cause` is the `QueryError` that the database
 * itself rejects with.
 */
export class FilterError extends Error {
  readonly code = 'INVALID_FILTER';
  readonly status = 400;

  constructor(message: string, options?: ErrorOptions) {
    super(message, { cause: options?.cause ?? new QueryError('INVALID_QUERY', message) });
    this.name = 'FilterError';
  }
}

/** Gives an error what an engine looks for in it. */
export function forEngine(thrown: unknown, object: string, isKnown: boolean): Error {
  if (thrown instanceof FilterError) return thrown;
  const error = toObjectqlError(thrown);
  const status = STATUSES[error.code];
  return Object.assign(inOtherWords(error, object, isKnown), status !== undefined && { status });
}

function inOtherWords(error: ObjectqlError, object: string, isKnown: boolean): ObjectqlError {
  switch (error.code) {
    case 'ALREADY_EXISTS':
      // To an engine the id is a column like others: it looks through the causes for a violated constraint.
      return new StateError(error.code, error.message, { cause: new StateError('UNIQUE_VIOLATION', `${object}.id`, { cause: error }) });
    case 'UNKNOWN_OBJECT': {
      const why = isKnown
        ? 'because its definition came while a transaction was open: it counts when that has ended'
        : 'because nobody defined it: an engine does with syncSchema(), an app with the option objects';
      // By the first words, engines know a table that is not there yet from a failure.
      return errorWithCode(error.code, `no such table: ${object}, ${why}`, { cause: error });
    }
    default:
      return error;
  }
}
