/**
 * A plugin of typedoc for what a doc comment can't say. Fields that many errors and messages have get one sentence here, by their name. A field of an
 * interface that is written out has its own comment in the source, and typedoc fails if a field has neither.
 */
import { Comment, Converter, ReflectionKind } from 'typedoc'

/** @type {Record<string, string>} */
const fields = {
  attempt: 'Which attempt it was, from 1.',
  code: 'Tells the error from others. It stays the same in all versions of a major.',
  carrier: 'The trace that goes with it. A subscriber may set it.',
  completed: 'How many were completed.',
  cron: 'A cron expression of 5 or 6 fields.',
  default: 'The default export.',
  delayMs: 'The time until the next attempt, in ms.',
  durationMs: 'How long it took, in ms.',
  error: 'What went wrong.',
  every: 'The time from one run to the next, in ms.',
  failed: 'How many failed.',
  failure: 'What went wrong with the store, in a word.',
  heldMs: 'How long the lock was held, in ms.',
  hold: 'The same object for the acquisition and the release of a lock.',
  holder: 'Where the holder of the lock asked for it: a stack, for the log.',
  id: 'Which one it was.',
  isAllowed: 'Whether the key has no limit.',
  job: "The job's name.",
  key: 'What it was counted by: the key of a limit, a lock or a queue.',
  kind: 'Which kind of lock.',
  known: 'The names that exist.',
  limit: 'The bound that was met.',
  lockedOut: 'Whether a lockout of the policy refused, and not its bucket.',
  max: 'The burst of the bucket.',
  mayBeStored: 'Whether Redis was asked and has not answered, so that the task may run.',
  message: 'Its message.',
  method: 'The method of the request.',
  name: 'Its name.',
  names: 'The names that are defined.',
  phase: 'The phase of the shutdown.',
  policies: 'The policies that `definePolicies()` returned.',
  policy: "The policy's name; undefined for a policy that isn't exposed.",
  pool: 'The decorator of the pool.',
  reason: 'Why it happened.',
  report: 'What the shutdown did.',
  retryAfter: 'When to try again, in whole seconds.',
  route: "The pattern of the request's route; undefined for a 404.",
  running: 'How many run.',
  server: "The application's server, which tells the applications of one process apart.",
  stack: 'Where the holder of the lock asked for it.',
  state: 'Where the task is: waiting, running or completed.',
  timeout: 'The time that has passed, in ms.',
  times: 'How often.',
  timeWindow: 'The time in which the tokens flow back, in ms.',
  timezone: 'The time zone of the expression, UTC by default.',
  ttlInSeconds: 'The same as `ttl`, in whole seconds.',
  waiting: 'How many wait.',
  waitMs: 'How long it waited, in ms.',
  where: 'Whether it was in the queue or on a thread.',
  why: 'Why the thread ended.'
}

/** @param {import('typedoc').Application} app */
export function load (app) {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, (context) => {
    const { project } = context
    // A module has the name by which it is imported.
    for (const module of project.getReflectionsByKind(ReflectionKind.Module)) {
      module.name = module.name.replace(/^plugins|^workers(?=\/)/, 'fastify-concurrency')
    }
    for (const reflection of /** @type {import('typedoc').DeclarationReflection[]} */ (project.getReflectionsByKind(ReflectionKind.Class))) {
      // Errors are thrown by the suite, not made by applications: their constructors are its own business.
      if (!reflection.name.endsWith('Error')) continue
      reflection.extendedTypes = undefined
      for (const child of reflection.children?.filter(({ kind }) => kind === ReflectionKind.Constructor) ?? []) project.removeReflection(child)
    }
    for (const reflection of /** @type {import('typedoc').DeclarationReflection[]} */ (project.getReflectionsByKind(ReflectionKind.Property))) {
      const { parent, name, type } = reflection
      // An option of @fastify/rate-limit that doesn't compile.
      if (type?.type === 'intrinsic' && (type.name === 'never' || type.name === 'undefined')) project.removeReflection(reflection)
      else if (reflection.comment === undefined && name in fields && (parent?.kindOf(ReflectionKind.TypeLiteral | ReflectionKind.Class))) {
        reflection.comment = new Comment([{ kind: 'text', text: /** @type {string} */ (fields[name]) }])
      }
    }
  })
}
