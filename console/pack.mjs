// Puts a .gz beside every built file that gains by it, so that the server packs nothing while it answers.
// The same input gives the same bytes: no name and no time go into them.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const dist = new URL('dist', import.meta.url).pathname;

function files(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((each) => {
    const path = join(folder, each.name);
    return each.isDirectory() ? files(path) : [path];
  });
}

for (const path of files(dist).sort()) {
  if (path.endsWith('.gz')) continue;
  const plain = readFileSync(path);
  const packed = gzipSync(plain, { level: 9 });
  // The byte that names the operating system differs between machines.
  packed[9] = 255;
  if (packed.length < plain.length) writeFileSync(`${path}.gz`, packed);
  else rmSync(`${path}.gz`, { force: true });
}
