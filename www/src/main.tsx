import { render } from 'preact';
import { App } from './app';
import './app.css';

render(<App />, document.getElementById('app')!);

if (import.meta.env.PROD && 'serviceWorker' in navigator) {
  // Without it the board still works, but not after a reload with the server stopped. Private windows refuse.
  navigator.serviceWorker.register('/sw.js', { updateViaCache: 'none' }).catch((error: unknown) => console.error(error));
}
