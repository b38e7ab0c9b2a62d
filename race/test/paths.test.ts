import t from 'tap'
import { isPackaged } from '../src/paths.ts'

t.test('a file of a package is known by its path, on Windows too', async (t) => {
  t.equal(isPackaged('/app/node_modules/pg/lib/client.js'), true)
  t.equal(isPackaged('C:\\app\\node_modules\\pg\\lib\\client.js'), true)
  t.equal(isPackaged('C:\\app\\node_modules\\fastify\\fastify.js', 'fastify'), true)
  t.equal(isPackaged('C:\\app\\node_modules\\fastify-plugin\\plugin.js', 'fastify'), false)
  t.equal(isPackaged('C:\\app\\src\\node_modules.ts'), false)
})
