// The real engine of ObjectQL for the tests, which would otherwise log what it does and every refusal that a test provokes.
import { ObjectQL } from '@objectstack/objectql';

const silent = Object.fromEntries(['debug', 'info', 'warn', 'error', 'fatal'].map((level) => [level, () => undefined]));
silent.child = () => silent;

/** An engine with this driver and these objects, by name. */
export async function engineWith(driver, objects) {
  const engine = new ObjectQL({ logger: silent });
  engine.registry.logLevel = 'silent';
  engine.registerDriver(driver, true);
  await engine.init();
  for (const [name, object] of Object.entries(objects)) engine.registry.registerObject({ name, label: name, ...object });
  await engine.syncSchemas();
  return engine;
}
