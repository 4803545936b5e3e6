// How the pages are built: one small first chunk, everything heavy loaded when a page asks for it.
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// `vite dev` sends the API to a vitalake that runs beside it.
const server = process.env.VITALAKE_SERVER ?? 'http://127.0.0.1:8888';

export default defineConfig({
  plugins: [svelte()],
  build: {
    target: 'es2022',
    // An inlined asset would need `data:` in more of the policy than images.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
  },
  server: {
    port: Number(process.env.PORT ?? 5173),
    strictPort: true,
    proxy: { '/api': { target: server, changeOrigin: true } },
  },
});
