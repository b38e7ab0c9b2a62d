/** The processes that run the assemblies, and what each of them must do when clients leave and when it is told to end. */
import { deepEqual, equal, ok } from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

/** How long anything that is waited for may take, in ms. */
const patience = 15_000
/** How long the process may go on when its last client has its answer, in ms. */
const endsWithin = 2_000
/** How long the work takes that a client leaves, and that SIGTERM interrupts, in ms. */
const endless = 600_000
const working = 1_000
/** How many clients leave, in each way of asking. */
const leaving = 20
const pinoError = 50

/**
 * @param name for the printed lines
 * @param cwd where the processes run
 */
export function checker (name, cwd) {
  async function check (title, run) {
    try {
      await run()
      console.log(`${name}: ${title}: ok`)
    } catch (error) {
      process.exitCode = 1
      console.log(`${name}: ${title}: FAILED\n${error.stack}`)
    }
  }

  /** Starts `node …args`, passes the process to `run` once it listens, and ends it afterwards if it hasn't ended by itself. */
  async function withApp (args, run, env = {}) {
    const app = launch(args, cwd, env)
    try {
      const { msg } = await app.logged((line) => /^Server listening at/.test(line.msg))
      await run({ ...app, url: msg.split(' ').at(-1) })
    } catch (error) {
      error.stack += `\n--- the process's output\n${app.output()}`
      throw error
    } finally {
      app.kill()
    }
  }

  async function survivesSigterm (title, args, ways, inFlight) {
    const each = Object.values(ways).flatMap((way) => Array.from({ length: inFlight }, () => way))
    await check(`${title}SIGTERM in the middle of ${inFlight} times ${Object.keys(ways).join(', ')}: finished, answered, ended with 0`, () => withApp(args, async (app) => {
      const asked = each.map(({ ask }) => ask(app.url, working))
      await app.logged(({ msg }) => msg === 'work begins', asked.length)
      app.terminate()
      const ends = await Promise.all(asked.map(({ ended }) => ended))
      const answeredAt = performance.now()
      deepEqual(ends, each.map(({ answer }) => answer))
      equal(await app.exited(), 0)
      const took = performance.now() - answeredAt
      ok(took < endsWithin, `the process ended ${Math.round(took)} ms after the last answer`)
      deepEqual(app.errors(), [])
    }))
  }

  return {
    check,
    withApp,
    survivesSigterm,

    /**
     * What holds for every application.
     *
     * @param title of the application, for the printed lines
     * @param args of node
     * @param ways what clients ask for, by name: `ask(url, ms)`, for work that takes `ms` if it ends by itself, returns `ended`, a promise of
     *   what the client has in the end, and `leave()`; `answer` is what it has if the process ends in the middle; each logs
     *   `work begins` and, when it is to no avail, `work stopped`; a way that `stays` isn't left
     * @param inFlight how many clients ask in each way when SIGTERM comes
     */
    async survives (title, args, ways, inFlight = 1) {
      const each = Object.entries(ways)

      for (const [way, { ask }] of each.filter(([, { stays }]) => stays !== true)) {
        await check(`${title}${way}: the work of clients that leave is stopped, and nothing of them is kept`, () => withApp(args, async (app) => {
          const asked = Array.from({ length: leaving }, () => ask(app.url, endless))
          await app.logged(({ msg }) => msg === 'work begins', leaving)
          for (const { leave } of asked) leave()
          await Promise.allSettled(asked.map(({ ended }) => ended))
          await app.logged(({ msg }) => msg === 'work stopped', leaving)
          const { kept } = await app.idle()
          // The last of a connection, and what the last turn of the loop still holds.
          ok(kept <= 4, `${kept} requests and replies of ${leaving} clients are kept`)
          deepEqual(app.errors(), [])
        }))
      }

      await survivesSigterm(title, args, ways, inFlight)
    }
  }
}

function launch (args, cwd, env) {
  const child = spawn(process.execPath, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  const closed = once(child, 'close')
  const lines = []
  const stderr = []
  const waiting = new Set()

  createInterface({ input: child.stdout }).on('line', (text) => {
    lines.push(text.startsWith('{') ? JSON.parse(text) : { msg: text, level: pinoError })
    for (const look of waiting) look()
  })
  createInterface({ input: child.stderr }).on('line', (text) => { stderr.push(text) })

  const output = () => [...lines.map((line) => JSON.stringify(line)), ...stderr].slice(-40).join('\n')

  /** Resolves with the last of the first `count` log lines that match; rejects if the process ends before. */
  async function logged (matches, count = 1) {
    let look, timer
    try {
      return await new Promise((resolve, reject) => {
        look = () => {
          const found = lines.filter(matches)
          if (found.length >= count) resolve(found[count - 1])
        }
        const failed = (why) => reject(new Error(`${why}; ${lines.filter(matches).length} of ${count} lines came: ${matches}`))
        timer = setTimeout(failed, patience, `waited for ${patience} ms`)
        // Its last lines come after it has ended.
        closed.then(([code, signal]) => failed(`the process has ended with ${code ?? signal}`))
        waiting.add(look)
        look()
      })
    } finally {
      clearTimeout(timer)
      waiting.delete(look)
    }
  }

  return {
    logged,
    output,
    terminate: () => child.kill('SIGTERM'),
    kill: () => child.kill('SIGKILL'),

    /** The exit code, or the signal that ended the process. */
    async exited () {
      const timer = setTimeout(() => child.kill('SIGKILL'), patience)
      const [code, signal] = await closed
      clearTimeout(timer)
      return code ?? signal
    },

    /** Resolves with the line that shared/watch.js logs when nothing is in flight. */
    idle () {
      child.kill('SIGWINCH')
      return logged(({ msg }) => msg === 'idle')
    },

    /** What was logged at error, and what came past the log. */
    errors: () => [...lines.filter(({ level }) => level >= pinoError), ...stderr]
  }
}
