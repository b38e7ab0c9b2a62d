// Prints the kinds of hooks that a plugin adds. Usage: node hooks.mjs <module of the plugin> <module of fastify>
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const [plugin, fastify] = process.argv.slice(2).map((file) => require(file))
const app = fastify()
const kinds = new Set()
const { addHook } = app
app.addHook = function (name, ...rest) {
  kinds.add(name)
  return addHook.call(this, name, ...rest)
}
await app.register(plugin.default, JSON.parse(process.env.FC_ECOSYSTEM_OPTIONS ?? '{}'))
await app.ready()
await app.close()
console.log([...kinds].sort().join())
