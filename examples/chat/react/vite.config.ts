import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  base: "/react/",
  plugins: [react()],
  build: { chunkSizeWarningLimit: 600 }, // kB; a third of that on its way
  server: { proxy: { "/api": "http://127.0.0.1:8000" } }, // `npm run dev` beside `make demo`
});
