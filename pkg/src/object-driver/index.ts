export { OfflineDriver, type OfflineDriverOptions } from './offline-driver.js';
export { LegacyOfflineDriver } from './legacy-driver.js';
export { FilterError } from './failures.js';
export type { AggregationPart, CallOptions, DriverQuery, DriverRecord, ObjectSchema } from './contract.js';
