const Fastify = require('fastify')
const { writeFile } = require('node:fs/promises')
const os = require('node:os')
const path = require('node:path')

const file = path.join(os.tmpdir(), `flags-${process.pid}.json`)
const flags = JSON.parse('{"beta":{"enabled":false,"changes":0}}')

exports.requests = ['/toggle', '/toggle']
exports.build = async () => {
  const app = Fastify()
  app.get('/toggle', async () => {
    const before = flags.beta.changes
    const enabled = !flags.beta.enabled
    await writeFile(file, JSON.stringify({ enabled }))
    flags.beta.enabled = enabled
    flags.beta.changes = before + 1
    return flags
  })
  return app
}
