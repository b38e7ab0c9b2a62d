/** A NestJS application: an event stream, a WebSocket gateway, and work on a thread. argv[2]: whether the suite's registration is awaited; `hooks`: Nest handles signals. */
import 'reflect-metadata'
import { Catch, Controller, Get, Module, Req, Sse } from '@nestjs/common'
import { BaseExceptionFilter, NestFactory } from '@nestjs/core'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import { WsAdapter } from '@nestjs/platform-ws'
import { MessageBody, SubscribeMessage, WebSocketGateway } from '@nestjs/websockets'
import closeWithGrace from 'close-with-grace'
import concurrency, { WorkersOverloadedError } from 'fastify-concurrency'
import { Observable } from 'rxjs'
import { jobs } from '../shared/jobs.js'
import { wait } from '../shared/wait.js'
import { watch } from '../shared/watch.js'
import { work } from '../shared/work.js'

@Controller()
class AppController {
  @Get('work')
  work (@Req() request) {
    return work(request, request.query.ms)
  }

  @Get('wait')
  wait (@Req() request) {
    return wait(request, request.query.ms)
  }

  @Get('refused')
  refused () {
    throw new WorkersOverloadedError('work', { reason: 'wait', waiting: 9, estimatedWait: 2_900, limit: 1_000, retryAfter: 3 })
  }

  @Sse('events')
  events (@Req() request) {
    return new Observable((subscriber) => {
      request.log.info('work begins')
      subscriber.next({ data: 'first' })
      return () => request.log.info('work stopped')
    })
  }
}

@WebSocketGateway({ path: '/socket' })
class Gateway {
  handleConnection () { fastify.log.info('work begins') }
  handleDisconnect () { fastify.log.info('work stopped') }

  @SubscribeMessage('echo')
  echo (@MessageBody() data) { return data }
}

/** Fastify answers our errors better: with Retry-After, and logged by their status. */
@Catch()
class ErrorFilter extends BaseExceptionFilter {
  catch (error, host) {
    if (!error.code?.startsWith('FC_ERR_')) return super.catch(error, host)
    host.switchToHttp().getResponse().send(error)
  }
}

@Module({ controllers: [AppController], providers: [Gateway] })
class AppModule {}

const adapter = new FastifyAdapter({ logger: true })
const fastify = adapter.getInstance()
watch(fastify)
const registered = fastify.register(concurrency, { workers: { jobs, maxThreads: 2 }, lifecycle: { delay: 300 } })
if (process.argv[2] === 'awaited') await registered

const app = await NestFactory.create(AppModule, adapter, { logger: ['error', 'warn'] })
app.useWebSocketAdapter(new WsAdapter(app))
app.useGlobalFilters(new ErrorFilter(app.getHttpAdapter()))
if (process.argv[2] === 'hooks') {
  app.enableShutdownHooks()
} else {
  closeWithGrace({ delay: 10_000, logger: fastify.log }, async ({ signal }) => {
    await fastify.lifecycle.shutdown(signal)
    await app.close()
  })
}
await app.listen(0, '127.0.0.1')
